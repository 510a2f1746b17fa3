"""GIFTI files: whether one is whole, and the numbers in it.

Read as a stream, with limits on all that a file may claim, so that a damaged or hostile
one costs neither memory nor time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.wholeness import FileFacts

MAX_GIFTI_BYTES = 1 << 28
"""The most bytes of a file, and of its numbers: 256 MiB, 200 maps on fsaverage."""

_BLOCK = 1 << 20
_WRONG = expat.ExpatError, ValueError, LookupError, OverflowError, zlib.error
_MOST_ARRAYS = 1 << 14
_SPACE = re.compile(r"\s")
_WBITS = zlib.MAX_WBITS | 32  # zlib's own wrapping, as written, or that of gzip
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        f"NIFTI_TYPE_{name}": name.lower()
        for name in (
            *("INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32"),
            *("INT64", "UINT64", "FLOAT32", "FLOAT64"),
        )
    }
)
_LOOKS: Mapping[bytes, str] = MappingProxyType(
    {
        b"\xff\xff\xff": "a FreeSurfer file (.curv), which was never converted",
        b"\x00\x00\x00\x01": "a FreeSurfer file (.mgh), which was never converted",
        b"\x5c\x01\x00\x00": "a NIfTI volume",
        b"\x1f\x8b": "gzipped twice",
        b"{": "a JSON text",
        b"PK\x03\x04": "a zip archive",
    }
)


def check_gifti(path: Path, *, label: str, limit: int = MAX_GIFTI_BYTES) -> FileFacts:
    """Read a file to its end and make sure that it is one whole GIFTI file.

    Parameters
    ----------
    path : Path
        The file, not gzipped, under any name.
    label : str
        What errors call it, such as ``"left surface of image 3 (collection 1)"``.
    limit : int, optional
        The most bytes of the file, and of all numbers in it; 256 MiB unless given.

    Returns
    -------
    FileFacts
        Size and SHA-256.

    Raises
    ------
    CorruptFileError
        If it is empty, cut off, no XML, no GIFTI, larger than `limit`, or if an array
        in it does not hold as many numbers as it declares.

    Notes
    -----
    The format is that of the GIFTI surface data format, version 1.0 [1]_. Arrays in
    external files, and entities, are refused.

    References
    ----------
    .. [1] https://www.nitrc.org/projects/gifti/
    """
    facts, _ = _read(path, label, limit)
    return facts


def read_gifti(
    path: Path, *, label: str, limit: int = MAX_GIFTI_BYTES
) -> list[NDArray[Any]]:
    """Read the arrays of a GIFTI file.

    Parameters
    ----------
    path : Path
        The file, not gzipped.
    label : str
        What errors call it.
    limit : int, optional
        The most bytes of the file, and of all numbers in it; 256 MiB unless given.

    Returns
    -------
    list of ndarray
        One for each data array, in their order, with the dimensions and the type that
        it declares, in the byte order of this machine.

    Raises
    ------
    CorruptFileError
        As `check_gifti`.
    """
    _, arrays = _read(path, label, limit)
    return arrays


@dataclass
class _Array:
    """One data array, as its element declares it."""

    dims: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: str
    columns: bool
    text: list[str] = field(default_factory=list)
    found: NDArray[Any] | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, str]) -> _Array:
        """Read what is declared; ValueError or KeyError where that cannot be."""
        rank = int(attributes["Dimensionality"])
        dims = tuple(int(attributes[f"Dim{axis}"]) for axis in range(rank))
        if not 1 <= rank <= 6 or min(dims) < 1:
            msg = f"an array has impossible dimensions {dims}"
            raise ValueError(msg)
        kind = _TYPES.get(attributes["DataType"])
        big = attributes.get("Endian") == "BigEndian"
        if kind is None:
            msg = f"an array has an unknown type of numbers, {attributes['DataType']}"
            raise ValueError(msg)
        columns = attributes.get("ArrayIndexingOrder") == "ColumnMajorOrder"
        dtype = np.dtype(kind).newbyteorder(">" if big else "<")
        return cls(dims, dtype, attributes["Encoding"], columns)

    @property
    def size(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.dims) * self.dtype.itemsize

    def decode(self) -> None:
        """Make numbers of the text; ValueError where that cannot be."""
        text = "".join(self.text)
        self.text.clear()
        if self.encoding == "ASCII":
            values = _typed(text, self.dtype)
        else:
            values = np.frombuffer(self._inflated(text), self.dtype)
        if values.size != math.prod(self.dims):
            raise ValueError(self._wrong(values.size))
        shaped = values.reshape(self.dims[::-1]).T if self.columns else values
        native = self.dtype.newbyteorder("=")
        self.found = shaped.reshape(self.dims).astype(native, copy=False)

    def _inflated(self, text: str) -> bytes:
        if self.encoding not in ("Base64Binary", "GZipBase64Binary"):
            msg = f"an array is encoded as {self.encoding}, which cannot be read"
            raise ValueError(msg)
        packed = base64.b64decode("".join(text.split()), validate=True)
        if self.encoding == "Base64Binary":
            plain, whole = packed, True
        else:
            inflater = zlib.decompressobj(_WBITS)
            plain = inflater.decompress(packed, self.size + self.dtype.itemsize)
            # NOTE: the checksum may still stand behind the last of the numbers.
            plain += inflater.decompress(inflater.unconsumed_tail, 1)
            whole = inflater.eof
        if len(plain) != self.size or not whole:
            raise ValueError(self._wrong(len(plain) // self.dtype.itemsize))
        return plain

    def _wrong(self, found: int) -> str:
        shape = " by ".join(map(str, self.dims))
        more = found > math.prod(self.dims)
        return (
            f"an array declares {shape} numbers and holds {'more' if more else found}"
        )


def _typed(text: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read numbers that are written as text, a piece at a time."""
    parts = [np.empty(0, dtype)]
    start = 0
    with np.errstate(all="ignore"):
        while start < len(text):
            found = _SPACE.search(text, start + _BLOCK)
            end = found.start() if found else len(text)
            parts.append(np.array(text[start:end].split(), dtype))
            start = end
    return np.concatenate(parts)


@dataclass
class _Content:
    """What has been met of a file so far."""

    limit: int
    arrays: list[_Array] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    declared: int = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self.elements and name != "GIFTI":
            page = name.lower() in ("html", "head", "body")
            looks = "an HTML page" if page else f"XML of another kind (<{name[:40]}>)"
            msg = f"the file is not GIFTI, it looks like {looks}"
            raise ValueError(msg)
        self.elements.append(name)
        if name == "DataArray":
            array = _Array.of(attributes)
            self.declared += array.size
            self.arrays.append(array)
            if self.declared > self.limit or len(self.arrays) > _MOST_ARRAYS:
                msg = (
                    f"the file declares {len(self.arrays):,} arrays of "
                    f"{self.declared:,} bytes, which is too much"
                )
                raise ValueError(msg)

    def text(self, data: str) -> None:
        if self.elements[-2:] == ["DataArray", "Data"]:
            self.arrays[-1].text.append(data)

    def end(self, name: str) -> None:
        self.elements.pop()
        if name == "Data" and self.elements[-1:] == ["DataArray"]:
            self.arrays[-1].decode()
        elif name == "DataArray" and self.arrays[-1].found is None:
            msg = "an array holds no numbers"
            raise ValueError(msg)

    def refuse(self, *_: object) -> None:
        msg = "the file declares XML entities, which GIFTI has no use for"
        raise ValueError(msg)


def _read(path: Path, label: str, limit: int) -> tuple[FileFacts, list[NDArray[Any]]]:
    content = _Content(limit)
    digest, size, start = hashlib.sha256(), 0, b""
    parse = _parser(content)
    try:
        with path.open("rb", buffering=0) as source:
            while block := source.read(_BLOCK):
                start = start or block[:512]
                size += len(block)
                if size > limit:
                    msg = f"the file has more than {limit:,} bytes"
                    raise ValueError(msg)
                digest.update(block)
                parse(block, False)
        parse(b"", True)
        if not content.arrays:
            msg = "the file holds no array"
            raise ValueError(msg)
    except _WRONG as error:
        msg = f"{label}: {_reason(error, start)}"
        raise CorruptFileError(msg) from error
    arrays = [array.found for array in content.arrays if array.found is not None]
    return FileFacts(size, digest.hexdigest(), gzipped=False), arrays


def _parser(content: _Content) -> Callable[[bytes, bool], object]:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.buffer_size = _BLOCK
    parser.StartElementHandler = content.start
    parser.EndElementHandler = content.end
    parser.CharacterDataHandler = content.text
    parser.EntityDeclHandler = content.refuse
    return parser.Parse


def _reason(error: Exception, start: bytes) -> str:
    """Say what is wrong with a file."""
    if isinstance(error, zlib.error | binascii.Error):
        return f"an array is damaged ({error})"
    if isinstance(error, KeyError):
        return f"an array does not say its {error.args[0]}"
    if not isinstance(error, expat.ExpatError):
        return str(error)
    if not start:
        return "the file is empty"
    bare = start.lstrip()
    if bare[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "the file is not GIFTI, it looks like an HTML page"
    for magic, name in _LOOKS.items():
        if start.startswith(magic):
            return f"the file is not GIFTI, it looks like {name}"
    return f"the file is not whole XML, as GIFTI is ({error})"
