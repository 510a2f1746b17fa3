"""Inflating gzip, with the quickest library that there is."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any

Bytes = bytes | bytearray

ZLIB: Any = zlib
"""What inflates streams: isal where it is built, which is twice as quick as zlib."""
with suppress(ImportError):
    from isal import isal_zlib

    ZLIB = isal_zlib

DEFLATE: Any = None
"""What inflates whole files: libdeflate where it is built, quicker still than isal."""
with suppress(ImportError):
    import deflate

    DEFLATE = deflate

GZIP_MAGIC = b"\x1f\x8b"
"""How a gzip file begins: RFC 1952, section 2.3.1."""

GZIP_WINDOW = 31
"""How zlib is told that a stream is gzip's: 16, and the largest window, 15."""


def inflate(data: Bytes, limit: int) -> Bytes | None:
    """Inflate the bytes of a gzip file, all of which are in memory.

    Parameters
    ----------
    data : bytes or bytearray
        The whole file.
    limit : int
        The most bytes that may come out.

    Returns
    -------
    bytes or bytearray, or None
        What is in it, if it is one gzip member that agrees with its CRC-32 and its
        length, and neither empty nor too long; None if it is not, or not surely so.

    Examples
    --------
    >>> import gzip
    >>> bytes(inflate(gzip.compress(b"voxels"), limit=6))
    b'voxels'
    >>> inflate(gzip.compress(b"voxels"), limit=5) is None
    True
    """
    length = int.from_bytes(data[-4:], "little")
    if not data.startswith(GZIP_MAGIC) or not 0 < length <= limit:
        return None
    whole = _streamed if DEFLATE is None else _at_once
    plain = whole(data, length)
    return plain if plain is not None and len(plain) == length else None


def _at_once(data: Bytes, length: int) -> Bytes | None:
    try:
        plain: Bytes = DEFLATE.gzip_decompress(data, length)
    except DEFLATE.DeflateError:
        return None
    # NOTE: libdeflate ends with the first member, and does not tell where that was.
    # If its CRC-32 is also at the end of the file, nothing follows, or the same once
    # more, which no reader of a map gets to see.
    is_last = DEFLATE.crc32(plain) == int.from_bytes(data[-8:-4], "little")
    return plain if is_last else None


def _streamed(data: Bytes, length: int) -> Bytes | None:
    inflater = ZLIB.decompressobj(GZIP_WINDOW)
    try:
        plain: Bytes = inflater.decompress(data, length + 1)
    except ZLIB.error:
        return None
    return plain if inflater.eof and not inflater.unused_data else None
