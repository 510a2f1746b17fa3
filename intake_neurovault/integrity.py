"""The bytes of a NIfTI file: inflating them, and what its header declares.

Knows no imaging package, so that a download can be checked without loading one.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.inflation import GZIP_MAGIC, GZIP_WINDOW, QUICKEST, Libraries

MAX_BYTES = 1 << 32
"""Default for the most bytes a file may hold when inflated: 4 GiB."""

SLACK = 1 << 20
"""Bytes that may follow the numbers, where some programs leave notes."""

_RAW_BLOCK = 1 << 16
_HEADER_SIZES: Mapping[int, int] = MappingProxyType({1: 348, 2: 540})
_ITEM_SIZES: Mapping[int, int] = MappingProxyType(
    {2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4}
    | {1024: 8, 1280: 8, 1536: 16, 1792: 16, 2048: 32, 2304: 4}
)
_LOOKS: Mapping[bytes, str] = MappingProxyType(
    {
        b"<": "an HTML or XML page",
        b"{": "a JSON text",
        b"[": "a JSON text",
        b"PK\x03\x04": "a zip archive",
        b"\x89HDF": "an HDF5 file",
        b"\x89PNG": "a picture",
        GZIP_MAGIC: "gzipped twice",
    }
)


@dataclass(frozen=True)
class RawHeader:
    """Where the numbers of a NIfTI file are, as its header declares."""

    version: int
    """1 or 2."""
    endianness: str
    """``"<"`` or ``">"``."""
    shape: tuple[int, ...]
    """All declared dimensions, each at least 1."""
    offset: int
    """Bytes of the inflated file before the first number."""
    data_bytes: int
    """Bytes of all numbers."""
    block: bytes = field(repr=False)
    """The 348 or 540 bytes of the header."""

    @property
    def end(self) -> int:
        """Bytes of the inflated file up to the end of the numbers."""
        return self.offset + self.data_bytes

    @classmethod
    def of(cls, block: bytes) -> RawHeader | None:
        """Read the header at the beginning of a file.

        Parameters
        ----------
        block : bytes
            The first 540 bytes of the file, inflated; fewer if there are no more.

        Returns
        -------
        RawHeader or None
            None if it is no header of a single-file NIfTI-1 or NIfTI-2.

        Examples
        --------
        >>> RawHeader.of(b"<html>") is None
        True
        """
        version, endianness = _version(block)
        if len(block) < _HEADER_SIZES.get(version, math.inf):
            return None
        try:
            return _parse_header(block[: _HEADER_SIZES[version]], version, endianness)
        except ValueError:
            return None

    def check_declared(self, label: str, limit: int) -> None:
        """Refuse to read more than so much.

        Parameters
        ----------
        label : str
            What errors call the file.
        limit : int
            The most bytes that may be declared.

        Raises
        ------
        CorruptFileError
            If more are.
        """
        if self.end > limit:
            msg = (
                f"{label}: the header declares {self.end:,} bytes, more than {limit:,}"
            )
            raise CorruptFileError(msg)

    def check_found(self, label: str, found: int) -> None:
        """Refuse a file that is shorter, or much longer, than this declares.

        Parameters
        ----------
        label : str
            What errors call the file.
        found : int
            Bytes of the file, inflated.

        Raises
        ------
        CorruptFileError
            If there are fewer than declared, or 1 MiB more.
        """
        if found < self.end:
            msg = f"{label}: the file ends after {found:,} of {self.end:,} bytes"
            raise CorruptFileError(msg)
        if found > self.end + SLACK:
            msg = f"{label}: the file goes on behind the {self.end:,} bytes it declares"
            raise CorruptFileError(msg)


class NiftiStream:
    """The inflated bytes of a NIfTI file, read in order and never ahead.

    Gzip or plain is told from the first bytes. Every gzip member that is read to
    its end is held against its CRC and length.

    Parameters
    ----------
    source : binary file object
        The file, at its start.
    label : str
        What errors call the file.
    observe : callable, optional
        Called with each block of bytes as they come from `source`.
    libraries : Libraries, optional
        What inflates; the quickest unless given.
    """

    def __init__(
        self,
        source: BinaryIO,
        label: str,
        observe: Callable[[bytes], None] | None = None,
        libraries: Libraries = QUICKEST,
    ) -> None:
        self.label = label
        self._library = libraries.streams
        self._source = source
        self._observe = observe
        self._raw = self._fetch()
        self.gzipped = self._raw.startswith(GZIP_MAGIC)
        """Whether the file is gzipped."""
        self._inflater = self._library.decompressobj(GZIP_WINDOW)

    def read(self, size: int) -> bytes:
        """Read inflated bytes.

        Parameters
        ----------
        size : int
            How many bytes.

        Returns
        -------
        bytes
            Fewer than `size` only where the file ends.

        Raises
        ------
        CorruptFileError
            If the gzip stream is damaged or ends too early.
        """
        parts = []
        while size > 0 and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def header(self) -> RawHeader:
        """Read the NIfTI header, with which the stream must begin.

        Returns
        -------
        RawHeader
            The header; the stream then stands right behind it.

        Raises
        ------
        CorruptFileError
            If this is not a single-file NIfTI-1 or NIfTI-2, or if the header
            declares what cannot be.
        """
        block = self.read(_HEADER_SIZES[1])
        if not block:
            msg = f"{self.label}: the file is empty"
            raise CorruptFileError(msg)
        version, endianness = _version(block)
        block += self.read(_HEADER_SIZES.get(version, 0) - len(block))
        if len(block) < _HEADER_SIZES.get(version, math.inf):
            msg = f"{self.label}: {_not_nifti(block)}"
            raise CorruptFileError(msg)
        try:
            return _parse_header(block, version, endianness)
        except ValueError as error:
            msg = f"{self.label}: {error}"
            raise CorruptFileError(msg) from error

    def numbers(self, header: RawHeader, *, limit: int = MAX_BYTES) -> bytes:
        """Read all numbers, the stream standing right behind its header.

        Parameters
        ----------
        header : RawHeader
            What :meth:`header` returned.
        limit : int, optional
            The most bytes that the header may declare; 4 GiB unless given.

        Returns
        -------
        bytes
            `header.data_bytes` of them, as they are stored.

        Raises
        ------
        CorruptFileError
            If there are fewer, if they are damaged, if too many are declared, or if
            a gzip stream goes on for more than 1 MiB.
        """
        header.check_declared(self.label, limit)
        gap = self.read(header.offset - len(header.block))
        numbers = self.read(header.data_bytes)
        header.check_found(self.label, len(header.block) + len(gap) + len(numbers))
        if self.gzipped:
            self._check_rest(header)
        return numbers

    def _check_rest(self, header: RawHeader) -> None:
        """Go on to the CRC, which a damaged stream may have far behind its numbers."""
        found = header.end
        while found <= header.end + SLACK and (part := self.read(_RAW_BLOCK)):
            found += len(part)
        header.check_found(self.label, found)

    def _fetch(self) -> bytes:
        raw = self._source.read(_RAW_BLOCK)
        if self._observe is not None:
            self._observe(raw)
        return raw

    def _some(self, limit: int) -> bytes:
        """Give between one and `limit` bytes, or none at the end."""
        if self.gzipped:
            return self._inflate(limit)
        raw = self._raw or self._fetch()
        self._raw = raw[limit:]
        return raw[:limit]

    def _inflate(self, limit: int) -> bytes:
        while not self._inflater.eof or self._next_member():
            # zlib may hold back bytes without any input left, hence the call with
            # nothing before the stream is declared too short.
            raw = self._inflater.unconsumed_tail or self._raw or self._fetch()
            self._raw = b""
            try:
                part: bytes = self._inflater.decompress(raw, limit)
            except self._library.error as error:
                msg = f"{self.label}: the gzip stream is damaged ({error})"
                raise CorruptFileError(msg) from error
            if part:
                return part
            if not raw and not self._inflater.eof:
                msg = f"{self.label}: the file is cut off, its gzip stream has no end"
                raise CorruptFileError(msg)
        return b""

    def _next_member(self) -> bool:
        """Begin the gzip member after the finished one; False at the end."""
        rest = self._inflater.unused_data.lstrip(b"\0")
        while len(rest) < len(GZIP_MAGIC) and (raw := self._fetch()):
            rest = (rest + raw).lstrip(b"\0")
        if not rest:
            return False
        if not rest.startswith(GZIP_MAGIC):
            msg = f"{self.label}: bytes that are not gzip follow the gzip stream"
            raise CorruptFileError(msg)
        self._inflater = self._library.decompressobj(GZIP_WINDOW)
        self._raw = rest
        return True


def _version(block: bytes) -> tuple[int, str]:
    """Tell version and byte order from the first four bytes; (0, "<") if neither."""
    for endianness in "<>":
        (size,) = struct.unpack_from(f"{endianness}i", block.ljust(4, b"\0"))
        for version, expected in _HEADER_SIZES.items():
            if size == expected:
                return version, endianness
    return 0, "<"


def _not_nifti(block: bytes) -> str:
    """Say what a file that is no NIfTI may be."""
    start = block.lstrip()
    for magic, name in _LOOKS.items():
        if start.startswith(magic):
            return f"the file is not NIfTI, it looks like {name}"
    return "the file is not NIfTI, or its header is cut off"


def _parse_header(block: bytes, version: int, endianness: str) -> RawHeader:
    """Read shape, offset and length; ValueError where they cannot be."""
    if version == 1:
        magic = block[344:348]
        rank, *dims = struct.unpack_from(f"{endianness}8h", block, 40)
        (code,) = struct.unpack_from(f"{endianness}h", block, 70)
        (offset,) = struct.unpack_from(f"{endianness}f", block, 108)
    else:
        magic = block[4:8]
        rank, *dims = struct.unpack_from(f"{endianness}8q", block, 16)
        (code,) = struct.unpack_from(f"{endianness}h", block, 12)
        (offset,) = struct.unpack_from(f"{endianness}q", block, 168)
    _check_magic(magic, version)
    if not 1 <= rank <= 7 or min(dims[:rank]) < 1:
        msg = f"the header declares impossible dimensions ({rank}: {dims})"
        raise ValueError(msg)
    if code not in _ITEM_SIZES:
        msg = f"the header declares an unknown type of numbers ({code})"
        raise ValueError(msg)
    shape = tuple(dims[:rank])
    start = _checked_offset(offset, len(block))
    return RawHeader(
        version, endianness, shape, start, math.prod(shape) * _ITEM_SIZES[code], block
    )


def _check_magic(magic: bytes, version: int) -> None:
    """Accept single files only; ValueError otherwise."""
    if magic == f"n+{version}\0".encode():
        return
    if magic == f"ni{version}\0".encode():
        msg = "the file is one half of a NIfTI pair (.hdr and .img), not a single file"
        raise ValueError(msg)
    msg = f"the header has no NIfTI mark (found {magic!r})"
    raise ValueError(msg)


def _checked_offset(offset: float, header_size: int) -> int:
    """Return where the numbers begin; ValueError where that cannot be.

    Zero stands for right behind the header and its four bytes of extension flags,
    as the NIfTI reference library reads it.
    """
    if offset == 0:
        return header_size + 4
    if not header_size <= offset < 1 << 62:
        msg = f"the header says that the numbers begin at byte {offset:g}"
        raise ValueError(msg)
    return int(offset)
