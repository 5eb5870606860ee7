"""The texts that a model embedded last: labels of classes and queries come again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace

from embeddb.query import Embedding

__all__ = ["RecentTexts", "TextCacheFigures"]


@dataclass(frozen=True)
class TextCacheFigures:
    """What a model's cache of texts holds, and how often it was asked since the model was loaded.

    Attributes:
        texts: that it holds now.
        hits: lookups that spared an inference.
        misses: the others.
    """

    texts: int
    hits: int
    misses: int


# Labels and queries are short; documents, of which one may have a million, would take gigabytes.
MAX_CHARACTERS = 1000


class RecentTexts:
    """Embeddings by text, of which the least recently used go first. Thread-safe.

    Args:
        size: how many at most, of up to `MAX_CHARACTERS` each; 0 for none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._hits = self._misses = 0
        self._embeddings: OrderedDict[str, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Embedding | None:
        """The embedding of a text, whose features are the caller's own; None if it is not here."""
        with self._lock:
            found = self._embeddings.get(text)
            if found is None:
                self._misses += 1
                return None
            self._hits += 1
            self._embeddings.move_to_end(text)
        return _copy(found)

    def put(self, text: str, embedding: Embedding) -> None:
        """Keep the embedding of a text, if it is not here and not too long."""
        if not self._size or len(text) > MAX_CHARACTERS:
            return
        with self._lock:
            if text not in self._embeddings:
                self._embeddings[text] = _copy(embedding)
            self._embeddings.move_to_end(text)
            if len(self._embeddings) > self._size:
                self._embeddings.popitem(last=False)

    def figures(self) -> TextCacheFigures:
        """What it holds and has done."""
        with self._lock:
            return TextCacheFigures(len(self._embeddings), self._hits, self._misses)


def _copy(embedding: Embedding) -> Embedding:
    return replace(embedding, features=embedding.features.copy())
