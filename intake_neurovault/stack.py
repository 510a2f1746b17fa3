"""Files on one grid as an array that reads what is indexed, and nothing else."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.averages import Total
from intake_neurovault.cuts import Block, Cut, Picked, Stretch, Window
from intake_neurovault.errors import (
    CorruptFileError,
    GeometryError,
    MissingError,
    NeuroVaultError,
    StoreError,
)
from intake_neurovault.grid import Grid
from intake_neurovault.nifti import Reader
from intake_neurovault.pool import ErrorPolicy
from intake_neurovault.records import ImageFile
from intake_neurovault.stacked import MapList, StackedMap

__all__ = ["Keeper", "MapList", "MapStack", "Opener", "StackedMap"]

_log = logging.getLogger(__name__)


class Opener(Protocol):
    """What makes files local; it travels to the workers, so it must be picklable."""

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        """Give the local, verified file of each, downloading what is missing.

        Parameters
        ----------
        files : sequence of ImageFile
            The files of one block, which may be fetched several at a time.
        doubted : bool
            Whether what was given before turned out to be damaged or gone, so that
            nothing that is known of it may be trusted.

        Returns
        -------
        context manager that gives an iterator of pathlib.Path or None
            One for each file, in their order and as soon as it is there; None where
            it cannot be had and that is no error. While one is decoded, the next
            may be on their way; leaving the context by an error calls them off.

        Raises
        ------
        NeuroVaultError
            Where it is one, naming the image.
        """
        ...


class Keeper(Protocol):
    """What keeps maps on their grid; it travels as the opener does."""

    def load(
        self, wanted: StackedMap, reader: Reader, stretches: Sequence[Stretch], /
    ) -> bool:
        """Read a part of a map that is kept, its file neither opened nor missed.

        Parameters
        ----------
        wanted : StackedMap
            The map.
        reader : Reader
            How a file becomes an array.
        stretches : sequence of (int, memoryview)
            What is read: the number of a voxel, the first axis fastest, and the
            memory for it and the next.

        Returns
        -------
        bool
            Whether the memory is filled; False if the map is not kept.
        """
        ...

    def read(self, wanted: StackedMap, reader: Reader, path: Path, /) -> Block:
        """Read a map from its file as the reader does, and keep it.

        Parameters
        ----------
        wanted : StackedMap
            The map.
        reader : Reader
            How a file becomes an array.
        path : pathlib.Path
            The file.

        Returns
        -------
        ndarray of float32
            The map.

        Raises
        ------
        NeuroVaultError
            As the reader does.
        """
        ...


@dataclass(frozen=True)
class MapStack:
    """Maps on one grid, as an array of images by three voxel axes.

    It has what :func:`dask.array.from_array` asks of an array. Indexing reads what
    is kept on the grid, and of that no more than is asked for. It opens the files of
    the other images, all in one call of the opener, and decodes them one after the
    other as they arrive, so that no more than the result and one map are in memory.
    A file that turns out to be damaged or gone is opened once more.
    """

    maps: MapList
    """The maps, in the order of the first axis."""
    grid: Grid
    """The grid on which they stand."""
    reader: Reader
    """How a file becomes an array on that grid."""
    opener: Opener
    """What makes files local."""
    errors: ErrorPolicy = "raise"
    """What a map that cannot be read does; unless ``raise``, it is all NaN."""
    keeper: Keeper | None = None
    """What keeps maps on their grid; None: each is made anew from its file."""

    dtype: ClassVar[np.dtype[np.float32]] = np.dtype(np.float32)
    """Of every value."""
    ndim: ClassVar[int] = 4
    """Images, and three voxel axes."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, and of voxels along the axes of the grid."""
        return (len(self.maps), *self.grid.shape)

    @property
    def fingerprint(self) -> str:
        """Hexadecimal digest of all that decides about the values.

        Equal for equal files read in the same way, in any process; that maps are
        kept decides about nothing.
        """
        reader = self.reader
        rules = (reader.interpolation, reader.nan, str(reader.fill_value), self.errors)
        grid = (self.grid.affine, self.grid.shape, reader.grid is None)
        text = json.dumps([rules, grid]) + self.maps.identity()
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def take(self, positions: slice | Sequence[int] | NDArray[Any]) -> MapStack:
        """Choose some of the maps.

        Parameters
        ----------
        positions : slice, sequence or 1-D array
            Positions on the first axis, or one boolean for each map.

        Returns
        -------
        MapStack
            The same with these maps only, in this order.
        """
        if isinstance(positions, slice):
            return replace(self, maps=self.maps[positions])
        chosen = np.arange(len(self.maps))[np.asarray(positions)].tolist()
        return replace(self, maps=self.maps.take(chosen))

    def __getitem__(self, key: Any) -> Block:
        """Read a part, each axis indexed for itself.

        Parameters
        ----------
        key : int, slice, 1-D int array, or a tuple of up to four of them
            One index for each axis.

        Returns
        -------
        ndarray of float32
            The part; axes with an int are gone. The first voxel axis is fastest in
            memory, as in a NIfTI file.
        """
        key = key if isinstance(key, tuple) else (key,)
        key += (slice(None),) * (self.ndim - len(key))
        rows = np.arange(len(self.maps))[key[0]]
        chosen = self.take(np.atleast_1d(rows))
        block = chosen.read(Cut(self.grid.shape, key[1:]))
        return block if rows.ndim else block[0]

    def read(self, cut: Cut | Picked) -> Block:
        """Read some voxels of all maps.

        Parameters
        ----------
        cut : Cut or Picked
            Which voxels.

        Returns
        -------
        ndarray of float32
            One row for each map.
        """
        block = cut.empty(len(self.maps))
        self.fill(cut, block)
        return block

    def fill(self, cut: Cut | Picked, block: Block) -> None:
        """Read some voxels of all maps to where they are wanted.

        Parameters
        ----------
        cut : Cut or Picked
            Which voxels.
        block : ndarray of float32
            Memory for them, as `cut.empty` gives it: one row for each map.
        """
        for _ in self._filled(cut, [block[row, ...] for row in range(len(block))]):
            pass

    def total(self, cut: Cut | Picked) -> Total:
        """Add up some voxels of all maps; not more than one map is in memory.

        Parameters
        ----------
        cut : Cut or Picked
            Which voxels.

        Returns
        -------
        Total
            Their sum, and how many there were.
        """
        row = cut.empty(1)[0, ...]
        total = Total(row.shape)
        for filled in self._filled(cut, [row] * len(self.maps)):
            total.add(filled)
        return total

    def _filled(self, cut: Cut | Picked, rows: Sequence[Block]) -> Iterator[Block]:
        """Read map after map; who takes a row may have it overwritten by the next."""
        window = Window(cut)
        lacking = []
        for each, row in zip(self.maps, rows, strict=True):
            if self._load(each, window, row):
                yield row
            else:
                lacking.append((each, row))
        with self._opened([each for each, _ in lacking]) as paths:
            for (each, row), path in zip(lacking, paths, strict=True):
                # NOTE: the opener may have found that nothing changed on the server,
                # or have waited until somebody else kept the map.
                if path is None or not self._load(each, window, row):
                    data = None if path is None else self._decode(each, path)
                    row[...] = np.nan if data is None else cut.take(data)
                    del data
                yield row

    def _load(self, each: StackedMap, window: Window, row: Block) -> bool:
        """Fill a row with a map that is kept, if it is."""
        if self.keeper is None or each.file is None:
            return False
        if not self.keeper.load(each, self.reader, window.stretches(row)):
            return False
        window.settle(row)
        return True

    @contextmanager
    def _opened(self, maps: Sequence[StackedMap]) -> Generator[Iterator[Path | None]]:
        """Make the files local, in one call."""
        for each in maps:
            if each.file is None and self.errors == "raise":
                msg = (
                    f"{each.label} has no file on the server; leave it out, or pass "
                    'errors="warn" to have NaN in its place'
                )
                raise MissingError(msg)
        files = [each.file for each in maps if each.file is not None]
        with self.opener(files) if files else nullcontext(iter(())) as opened:
            yield (None if each.file is None else next(opened) for each in maps)

    def _decode(self, each: StackedMap, path: Path) -> Block | None:
        """Read one map, or raise or log as the policy says."""
        try:
            return self._decode_twice(each, path)
        except NeuroVaultError as error:
            if self.errors == "raise":
                raise
            _log.warning("All of %s is NaN: %s", each.label, error)
            return None
        except OSError as error:
            if self.errors == "raise":
                msg = f"the stored file of {each.label} cannot be read: {error}"
                raise StoreError(msg) from error
            _log.warning("All of %s is NaN: %s", each.label, error)
            return None

    def _decode_twice(self, each: StackedMap, path: Path) -> Block | None:
        """Read one map, after a second look at its file if that is not whole."""
        try:
            return self._decode_once(each, path)
        except (CorruptFileError, FileNotFoundError) as error:
            if each.file is None:
                raise
            _log.info("The file of %s is looked at once more: %s", each.label, error)
            # NOTE: within the clause, so that a second error has the first behind it.
            with self.opener([each.file], doubted=True) as opened:
                (again,) = opened
        return None if again is None else self._decode_once(each, again)

    def _decode_once(self, each: StackedMap, path: Path) -> Block:
        if self.keeper is None:
            data = self.reader(path, discrete=each.discrete, label=each.label)
        else:
            data = self.keeper.read(each, self.reader, path)
        self._check_shape(each, data)
        return data

    def _check_shape(self, each: StackedMap, data: Block) -> None:
        if data.shape != self.grid.shape:
            size = "×".join(map(str, data.shape))
            msg = (
                f"the file of {each.label} now has {size} voxels instead of "
                f"{self.grid.describe()}: it changed since its grid was read; "
                "build the cube again"
            )
            raise GeometryError(msg)
