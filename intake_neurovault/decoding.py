"""The numbers of a NIfTI file, read in one go: the quick way for whole files."""

from __future__ import annotations

import os
from io import BytesIO, FileIO

import numpy as np

from intake_neurovault.inflation import GZIP_MAGIC, QUICKEST, Libraries, inflate
from intake_neurovault.integrity import MAX_BYTES, SLACK, NiftiStream, RawHeader

LARGEST = 1 << 28
"""The most bytes of a gzipped file that is held in memory beside its numbers."""


class NiftiFile:
    """A NIfTI file that is read as a whole: first its header, then its numbers.

    Parameters
    ----------
    source : io.FileIO
        The file, unbuffered, so that nothing is copied twice.
    label : str
        What errors call the file.
    libraries : Libraries, optional
        What inflates; the quickest unless given.

    Notes
    -----
    What is not surely whole is left to :class:`.integrity.NiftiStream`, which accepts
    gzip files of several members, and knows how to say what is wrong.
    """

    def __init__(
        self, source: FileIO, label: str, libraries: Libraries = QUICKEST
    ) -> None:
        self.label = label
        self._source = source
        self._libraries = libraries
        self._size = source.seek(0, os.SEEK_END)
        source.seek(0)
        self._packed = self._read_packed()
        stream = BytesIO(self._packed) if self._packed else source
        self._stream = NiftiStream(stream, label, libraries=libraries)

    def header(self) -> RawHeader:
        """Read the NIfTI header, with which the file must begin.

        Returns
        -------
        RawHeader
            The header; nothing behind it is inflated.

        Raises
        ------
        CorruptFileError
            If this is not a single-file NIfTI-1 or NIfTI-2, or if the header
            declares what cannot be.
        """
        return self._stream.header()

    def numbers(self, header: RawHeader, *, limit: int = MAX_BYTES) -> memoryview:
        """Read all numbers.

        Parameters
        ----------
        header : RawHeader
            What :meth:`header` returned.
        limit : int, optional
            The most bytes that the header may declare; 4 GiB unless given.

        Returns
        -------
        memoryview
            `header.data_bytes` of them, as they are stored; where they may be written
            to, nobody else has them.

        Raises
        ------
        CorruptFileError
            If there are fewer, if they are damaged, if too many are declared, or if
            a gzip stream goes on for more than 1 MiB.
        """
        header.check_declared(self.label, limit)
        if self._packed:
            # NOTE: the C library of Linux gives what is freed back to the system, which
            # has to clear it for the next map; but it keeps twice as much as was freed
            # at once, and this is never touched.
            np.empty(2 * header.end, np.uint8)
            plain = inflate(self._packed, header.end + SLACK, libraries=self._libraries)
            if plain is not None and len(plain) >= header.end:
                return memoryview(plain)[header.offset : header.end]
        elif not self._stream.gzipped and self._size >= header.end:
            return self._plain(header)
        return memoryview(self._stream.numbers(header, limit=limit))

    def _read_packed(self) -> bytes:
        """Read the whole file, if it is gzipped and not too large."""
        if self._size > LARGEST:
            return b""
        gzipped = self._source.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        self._source.seek(0)
        return self._source.read() if gzipped else b""

    def _plain(self, header: RawHeader) -> memoryview:
        """Read numbers that are not gzipped to where they stay."""
        self._source.seek(header.offset)
        numbers = np.empty(header.data_bytes, np.uint8).data
        found = 0
        while found < len(numbers) and (
            count := self._source.readinto(numbers[found:])
        ):
            found += count
        header.check_found(self.label, header.offset + found)
        return numbers
