"""Values with a checksum, so that damage is found when they are read and never passed on.

LMDB checks the structure of its pages, not what is in them. A sealed value is a CRC-32 over key and body, in
8 bytes that keep what follows aligned, and then the body.
"""

from __future__ import annotations

import struct
import zlib

from embeddb.errors import DataLossError

__all__ = ["seal", "unseal"]

_HEADER = struct.Struct("<I4x")


def seal(key: bytes, body: bytes) -> bytes:
    """The value to store under a key."""
    return _HEADER.pack(zlib.crc32(body, zlib.crc32(key))) + body


def unseal(key: bytes, value: bytes | memoryview) -> memoryview:
    """The body of the value that is stored under a key; it lives as long as the value does.

    Raises:
        DataLossError: it is not what was stored there.
    """
    body = memoryview(value)[_HEADER.size :]
    if len(value) < _HEADER.size or _HEADER.unpack_from(value)[0] != zlib.crc32(body, zlib.crc32(key)):
        raise DataLossError(
            f"the {len(value):,} bytes stored under {key.hex()} do not fit their checksum; "
            f"`embeddb-server verify` tells what else is damaged"
        )
    return body
