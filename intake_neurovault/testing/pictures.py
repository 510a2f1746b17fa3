"""Thumbnails: the outline of a map seen from above, as PNG."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.testing.volumes import Volume


def thumbnail(volume: Volume) -> bytes:
    """Draw the largest absolute value along the third axis.

    Parameters
    ----------
    volume : Volume
        The map.

    Returns
    -------
    bytes
        A PNG file in shades of grey, one pixel for each voxel.

    Examples
    --------
    >>> thumbnail(Volume(space="mni6"))[1:4]
    b'PNG'
    """
    values = np.abs(volume.image().get_fdata(dtype=np.float32))
    seen = np.nan_to_num(values.max(axis=2))
    scaled = 255 * (1 - seen / max(float(seen.max()), 1e-6))
    return _png(scaled.T[::-1].astype(np.uint8))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    size, check = (
        struct.pack(">I", len(data)),
        struct.pack(">I", zlib.crc32(name + data)),
    )
    return size + name + data + check
