"""What the tests of the storage put into it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embeddb.query import Modality
from embeddb.storage import Put

DIMENSION = 4


def vector(seed: int, dimension: int = DIMENSION) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=dimension).astype(np.float32)


def put(item_id: str, seed: int = 0, payload: bytes | None = b"payload", *, features: bool = True) -> Put:
    """An item whose metadata, payload and features, if it has them, all tell its seed."""
    return Put(
        id=item_id,
        metadata_json=f'{{"seed":{seed}}}',
        modality=Modality.TEXT,
        payload=None if payload is None else payload + str(seed).encode(),
        content_hash=seed.to_bytes(16, "big"),
        features={"m": vector(seed)} if features else {},
    )
