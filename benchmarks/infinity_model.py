"""Writes a CLIP of random weights as transformers keeps it; infinity.py runs it with Infinity's Python.

Of its tokenizer there are two words: Infinity wants one, and images need none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer


def main() -> None:
    folder = Path(sys.argv[1])
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    vocabulary.write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(vocabulary), str(merges))
    CLIPProcessor(CLIPImageProcessor(), tokenizer).save_pretrained(folder)
    # As it comes it is a ViT-B/32.
    CLIPModel(CLIPConfig()).save_pretrained(folder)


if __name__ == "__main__":
    main()
