"""The voxels of one NIfTI file as an array of xarray's that reads what is indexed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, FileIO
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from intake_neurovault.decoding import NiftiFile
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.headers import Encoding
from intake_neurovault.integrity import NiftiStream, RawHeader
from intake_neurovault.origins import LocalFile, Origin

__all__ = ["Stretch", "VoxelArray", "Voxels", "read_header"]

Key = tuple[int | slice, ...]

_HEAD = 1 << 16
_SKIPPED = 1 << 20
_PACKED_CHUNK = 256 * 2**20


@dataclass(frozen=True)
class Stretch:
    """The one stretch of a file that holds a part of an array, and the part in it.

    Examples
    --------
    >>> Stretch.of((slice(2), 1, 3), (4, 5, 6))
    Stretch(start=64, shape=(2, 1, 1), key=(slice(0, 2, 1), 0, 0))
    """

    start: int
    """Number of its first voxel in the file, where the first axis is fastest."""
    shape: tuple[int, ...]
    """Its extent along each axis."""
    key: Key
    """Where the part is in it."""

    @classmethod
    def of(cls, key: Key, shape: Sequence[int]) -> Stretch:
        """Find the shortest stretch.

        Parameters
        ----------
        key : tuple of int or slice
            An index for each axis; none of them may be empty.
        shape : sequence of int
            The shape of the array.

        Returns
        -------
        Stretch
            Whole lines, planes and volumes but along the last axis of which there is
            more than one place.
        """
        start, extent, inner = 0, list(shape), list(key)
        for axis in reversed(range(len(shape))):
            places = range(shape[axis])[key[axis]]
            if isinstance(places, int):
                low, extent[axis], inner[axis] = places, 1, 0
            else:
                low, high = min(places[0], places[-1]), max(places[0], places[-1])
                extent[axis], inner[axis] = high - low + 1, _moved(places, -low)
            start += low * math.prod(shape[:axis])
            if extent[axis] > 1:
                break
        return cls(start, tuple(extent), tuple(inner))


def _moved(places: range, by: int) -> slice:
    end = places[-1] + by + (1 if places.step > 0 else -1)
    return slice(places[0] + by, None if end < 0 else end, places.step)


@dataclass(frozen=True)
class Voxels:
    """Where the numbers of a file are, and how they become values."""

    origin: Origin
    """The file."""
    header: RawHeader
    """What it began with when it was opened."""
    encoding: Encoding
    """How the numbers are stored; with the slope 1 and the intercept 0 they are given
    as they are."""
    gzipped: bool
    """Whether the file is gzipped."""
    shape: tuple[int, ...]
    """The shape, without dimensions of one behind the third."""

    @property
    def scaled(self) -> bool:
        """Whether the values are other than the numbers."""
        return (self.encoding.slope, self.encoding.intercept) != (1, 0)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values: that of the numbers, or one for what is scaled.

        It is the one that xarray has for scaled numbers of netCDF: float32 if it
        holds them without loss but that of rounding, otherwise float64.
        """
        stored = self.encoding.dtype.newbyteorder("=")
        if not self.scaled:
            return stored
        if stored.kind == "c":
            return np.dtype(np.complex128)
        small = stored.kind in "iu" and stored.itemsize <= 2
        return np.dtype("f4" if small and self.encoding.intercept == 0 else "f8")

    def chunks(self) -> tuple[int, ...]:
        """Give the extent of the parts in which the file is best read.

        Returns
        -------
        tuple of int
            One volume; of a gzipped file, which is inflated as a whole for each
            part, as many as make 256 MiB.
        """
        size = math.prod(self.shape[:3]) * self.dtype.itemsize
        volumes = max(1, _PACKED_CHUNK // size) if self.gzipped else 1
        extent = list(self.shape[:3])
        for count in self.shape[3:]:
            extent.append(min(count, volumes))
            volumes = max(1, volumes // count)
        return tuple(extent)

    def read(self, key: Key) -> NDArray[Any]:
        """Read a part.

        Parameters
        ----------
        key : tuple of int or slice
            An index for each axis.

        Returns
        -------
        ndarray
            Its values, owned by the caller.

        Raises
        ------
        CorruptFileError
            If the file is damaged, cut off, or another than it was.
        """
        shape = np.broadcast_to(np.uint8(0), self.shape)[key].shape
        if 0 in shape:
            return np.empty(shape, self.dtype)
        stretch = Stretch.of(key, self.shape)
        stored = np.frombuffer(self._numbers(stretch), self.encoding.dtype)
        part = stored.reshape(stretch.shape, order="F")[stretch.key]
        return self._decoded(part)

    def _decoded(self, part: NDArray[Any]) -> NDArray[Any]:
        if not self.scaled:
            return np.array(part, self.dtype)
        # NOTE: in double precision, as nibabel does. Values beyond float32, and
        # signalling NaN, are the map's, not an accident.
        with np.errstate(over="ignore", invalid="ignore"):
            wide = np.array(part, np.result_type(self.dtype, np.float64))
            wide *= self.encoding.slope
            wide += self.encoding.intercept
            return wide.astype(self.dtype, copy=False)

    def _numbers(self, stretch: Stretch) -> bytes | memoryview:
        item = self.encoding.dtype.itemsize
        start = stretch.start * item
        count = math.prod(stretch.shape) * item
        if not self.gzipped:
            return self._plain(start, count)
        with self.origin.whole() as source:
            if count == self.header.data_bytes:
                file = NiftiFile(cast("FileIO", source), self.origin.label)
                self._check(file.header())
                return file.numbers(self.header, limit=self.header.end)
            return self._inflated(source, start, count)

    def _plain(self, start: int, count: int) -> bytes:
        # NOTE: of other files this would take a request of its own each time.
        if isinstance(self.origin, LocalFile):
            self._check(read_header(self.origin)[0])
        first = self.header.offset + start
        found = self.origin.part(first, first + count)
        if len(found) < count:
            self.header.check_found(self.origin.label, first + len(found))
        return found

    def _inflated(self, source: Any, start: int, count: int) -> bytes:
        """Keep a part of what is inflated, and go on to the end, which has the CRC."""
        stream = NiftiStream(source, self.origin.label)
        header = stream.header()
        self._check(header)
        skipped = header.offset + start - len(header.block)
        while skipped > 0 and (part := stream.read(min(skipped, _SKIPPED))):
            skipped -= len(part)
        numbers = stream.read(count)
        found = header.offset + start - skipped + len(numbers)
        while part := stream.read(_SKIPPED):
            found += len(part)
        header.check_found(self.origin.label, found)
        return numbers

    def _check(self, header: RawHeader) -> None:
        if header != self.header:
            msg = (
                f"{self.origin.label}: the file is another than when it was opened; "
                "open it again"
            )
            raise CorruptFileError(msg)


class VoxelArray(BackendArray):
    """What xarray indexes.

    Parameters
    ----------
    voxels : Voxels
        Where it reads.
    """

    def __init__(self, voxels: Voxels) -> None:
        self.voxels = voxels
        self.shape = voxels.shape
        self.dtype = voxels.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        found: NDArray[Any] = indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self.voxels.read
        )
        return found


def read_header(origin: Origin) -> tuple[RawHeader, bool]:
    """Read the header of a file, and nothing behind it.

    Parameters
    ----------
    origin : Origin
        The file.

    Returns
    -------
    header : RawHeader
        The header.
    gzipped : bool
        Whether the file is gzipped.

    Raises
    ------
    CorruptFileError
        If it does not begin as NIfTI; or, not gzipped, is shorter than its header
        says, or longer by more than 1 MiB.
    """
    stream = NiftiStream(BytesIO(origin.part(0, _HEAD)), origin.label)
    header = stream.header()
    if not stream.gzipped and (size := origin.size()) is not None:
        header.check_found(origin.label, size)
    return header, stream.gzipped
