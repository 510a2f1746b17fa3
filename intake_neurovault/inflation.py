"""Inflating gzip, with the quickest library that there is."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Bytes = bytes | bytearray | memoryview

GZIP_MAGIC = b"\x1f\x8b"
"""How a gzip file begins: RFC 1952, section 2.3.1."""

GZIP_WINDOW = 31
"""How zlib is told that a stream is gzip's: 16, and the largest window, 15."""

_LARGEST_RATIO = 1032


@dataclass(frozen=True)
class Libraries:
    """What inflates."""

    streams: Any = zlib
    """For streams: `zlib`, or a module that has what it has."""
    whole: Any = None
    """For files that are in memory: `deflate`, or None for the same as streams."""


STANDARD = Libraries()
"""What every Python has."""

QUICKEST = STANDARD
"""What there is here: for streams isal, which is twice as quick as zlib, where it is
built; for whole files libdeflate, quicker still, where that is."""
with suppress(ImportError):
    from isal import isal_zlib

    QUICKEST = Libraries(isal_zlib)
with suppress(ImportError):
    import deflate

    QUICKEST = Libraries(QUICKEST.streams, deflate)


def inflate(
    data: Bytes, limit: int, *, libraries: Libraries = QUICKEST
) -> Bytes | None:
    """Inflate the bytes of a gzip file, all of which are in memory.

    Parameters
    ----------
    data : bytes or bytearray
        The whole file.
    limit : int
        The most bytes that may come out.
    libraries : Libraries, optional
        What inflates; the quickest unless given.

    Returns
    -------
    bytes or bytearray, or None
        What is in it, if it is one gzip member that agrees with its CRC-32 and its
        length, and neither empty nor too long; None if it is not, or not surely so.

    Notes
    -----
    No more memory is taken than a file of this size can fill: deflate makes at most
    1032 bytes of one [1]_.

    References
    ----------
    .. [1] zlib technical details, "Maximum Compression Factor",
       https://zlib.net/zlib_tech.html

    Examples
    --------
    >>> import gzip
    >>> bytes(inflate(gzip.compress(b"voxels"), limit=6))
    b'voxels'
    >>> inflate(gzip.compress(b"voxels"), limit=5) is None
    True
    """
    length = int.from_bytes(data[-4:], "little")
    most = min(limit, _LARGEST_RATIO * len(data))
    if data[:2] != GZIP_MAGIC or not 0 < length <= most:
        return None
    if libraries.whole is None:
        plain = _streamed(data, length, libraries.streams)
    else:
        plain = _at_once(data, length, libraries)
    return plain if plain is not None and len(plain) == length else None


def _at_once(data: Bytes, length: int, libraries: Libraries) -> Bytes | None:
    try:
        plain: Bytes = libraries.whole.gzip_decompress(data, length)
    except libraries.whole.DeflateError:
        return None
    # NOTE: libdeflate ends with the first member, and does not tell where that was.
    # If its CRC-32 is also at the end of the file, nothing follows, or the same once
    # more, which no reader of a map gets to see. It is not asked for the sum, since it
    # would keep other threads waiting meanwhile.
    is_last = libraries.streams.crc32(plain) == int.from_bytes(data[-8:-4], "little")
    return plain if is_last else None


def _streamed(data: Bytes, length: int, library: Any) -> Bytes | None:
    inflater = library.decompressobj(GZIP_WINDOW)
    try:
        plain: Bytes = inflater.decompress(data, length + 1)
    except library.error:
        return None
    return plain if inflater.eof and not inflater.unused_data else None
