"""Maps as dask arrays whose chunks carry what they need, and no more."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Self

import dask
import dask.array as da
import numpy as np
from dask import threaded
from dask.array.core import getter, normalize_chunks
from dask.base import get_scheduler
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from intake_neurovault.averages import Total
from intake_neurovault.cuts import Block, Cut, Picked
from intake_neurovault.stack import MapStack

__all__ = ["MapArray", "VoxelArray"]

_MEANS: Mapping[Callable[..., Any], bool] = MappingProxyType(
    {np.nanmean: True, np.mean: False}
)
"""The means that are taken map by map, and whether they pass over NaN."""
_OVER_IMAGES = ({"axis": 0}, {"axis": (0,)})


class _Parts(BlockwiseDep):
    """The maps of each chunk, cut out of the stack when its task is made.

    With the stack itself in the graph, as :func:`dask.array.from_array` puts it
    there, every worker would be sent all maps to read the few of a chunk.
    """

    produces_tasks = False

    def __init__(self, stack: MapStack, rows: int, name: str, ndim: int = 4) -> None:
        self._stack, self._rows, self._name = stack, rows, name
        self.numblocks = (-(-len(stack.maps) // rows), *(1,) * (ndim - 1))

    def __getitem__(self, idx: tuple[int, ...]) -> MapStack:
        first = idx[0] * self._rows
        return self._stack.take(slice(first, first + self._rows))

    def __dask_tokenize__(self) -> str:
        return self._name


class _LocalArray(da.Array):
    """A dask array that is computed here unless there is a reason not to.

    Before dask computes anything it loads the package of clusters, where that is
    installed, to see whether one was started. Nobody can have started one who has
    not loaded it, and a fifth of a second is longer than some of these arrays take.
    """

    def compute(self, **kwargs: Any) -> Any:
        """Compute it, as any dask array.

        Parameters
        ----------
        **kwargs
            As for :func:`dask.compute`.

        Returns
        -------
        ndarray
            Its values.
        """
        if kwargs or not _in_threads():
            return self._by_dask(**kwargs)
        return self._computed()

    def _computed(self) -> Any:
        """Compute it in threads of this process."""
        return self._by_dask(scheduler=threaded.get)

    def _by_dask(self, **kwargs: Any) -> Any:
        usual: Any = super().compute
        return usual(**kwargs)

    @classmethod
    def _like(cls, plain: da.Array) -> Self:
        """Make the same array, but of this class."""
        make: Any = cls
        array: Self = make(plain.dask, plain.name, plain.chunks, meta=plain._meta)
        return array

    def __array_function__(
        self, func: Any, types: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        usual: Any = super().__array_function__
        found = usual(func, types, args, kwargs)
        return _LocalArray._like(found) if type(found) is da.Array else found


class _StackArray(_LocalArray):
    """A dask array that reads a stack of maps, and knows it."""

    _stack: MapStack
    _rows: int
    _token: str
    _original: str

    @classmethod
    def _around(cls, plain: da.Array, stack: MapStack, rows: int, token: str) -> Self:
        array = cls._like(plain)
        array._stack, array._rows, array._token = stack, rows, token
        array._original = plain.name
        return array

    def _part(self) -> Cut | Picked | None:
        """Say which voxels of each map these are; None where nothing tells."""
        raise NotImplementedError

    def _computed(self) -> Any:
        """Read the maps to where they stay."""
        cut = self._part()
        if cut is None:
            return super()._computed()
        return _read(self._stack, self._rows, cut)


def _in_threads() -> bool:
    """Tell whether dask would compute in threads of this process."""
    if dask.config.get("scheduler", None) is None and "distributed" not in sys.modules:
        return True
    return bool(get_scheduler(cls=da.Array) is threaded.get)


class MapArray(_StackArray):
    """A dask array of maps that forgets the maps which are not chosen.

    Dask takes single rows out of a chunk after it has made the chunk. Here every
    row is a file that may have to be downloaded, so choosing rows makes a new array
    of these rows alone, to which the cuts made so far along the voxel axes are
    applied again. All of it is read to where it stays, and its mean is taken while
    it is read. All else dask does as with any array.
    """

    _cuts: tuple[tuple[Any, ...], ...] = ()

    @classmethod
    def of(cls, stack: MapStack, rows: int, token: str) -> MapArray:
        """Make the array.

        Parameters
        ----------
        stack : MapStack
            The maps.
        rows : int
            How many make a chunk.
        token : str
            What tells this query from others in dask's names.

        Returns
        -------
        MapArray
            Of the stack's shape, float32. A task of its graph is one chunk, and
            dask merges cuts along the voxel axes into it.
        """
        name = _name_of(token, rows, stack.fingerprint)
        axes = tuple(range(stack.ndim))
        # NOTE: what dask's own arrays read with, since it merges only cuts of those.
        layer = blockwise(
            getter,
            name,
            axes,
            _Parts(stack, rows, name),
            axes,
            (slice(None),) * stack.ndim,
            None,
            numblocks={},
            _data_producer=True,
        )
        plain = da.Array(
            HighLevelGraph.from_collections(name, layer),
            name,
            normalize_chunks((rows, *stack.grid.shape), stack.shape),
            meta=np.empty((0,) * stack.ndim, dtype=stack.dtype),
        )
        return cls._around(plain, stack, rows, token)

    @property
    def uncut(self) -> bool:
        """Whether it still has all voxels, as they were read."""
        return self.name == self._original and not self._cuts

    def pick(self, numbers: NDArray[np.intp]) -> VoxelArray:
        """Choose single voxels of all maps.

        Parameters
        ----------
        numbers : ndarray of int
            Which voxels of an `uncut` array, at least one; numbered with the last
            axis fastest.

        Returns
        -------
        VoxelArray
            Images by voxels, in the same chunks of images.
        """
        return VoxelArray.of(self._stack, self._rows, self._token, numbers)

    def __getitem__(self, index: Any) -> Any:
        rows, *voxels = index if isinstance(index, tuple) else (index,)
        # Assignment changes an array in place, after which it is no longer the stack.
        if self.name != self._original:
            return da.Array.__getitem__(self, index)
        if _chooses(rows):
            chosen = self._chosen(np.atleast_1d(rows))
            if np.ndim(rows):
                return chosen[:, *voxels]
            return _LocalArray._like(da.Array.__getitem__(chosen, (0, *voxels)))
        found = da.Array.__getitem__(self, index)
        if isinstance(rows, slice) and rows == slice(None) and found is not self:
            return self._cut(found, tuple(voxels))
        return found

    def __array_function__(
        self, func: Any, types: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> Any:
        given = {name: value for name, value in kwargs.items() if value is not None}
        if func in _MEANS and len(args) == 1 and given in _OVER_IMAGES and len(self):
            cut = self._part()
            if cut is not None:
                return self._mean(cut, skipna=_MEANS[func])
        return super().__array_function__(func, types, args, kwargs)

    def _chosen(self, positions: NDArray[Any]) -> MapArray:
        chosen = MapArray.of(self._stack.take(positions), self._rows, self._token)
        for cut in self._cuts:
            chosen = chosen[:, *cut]
        return chosen

    def _cut(self, found: da.Array, voxels: tuple[Any, ...]) -> MapArray:
        array = MapArray._around(found, self._stack, self._rows, self._token)
        array._cuts = (*self._cuts, voxels)
        return array

    def _part(self) -> Cut | None:
        """Say which voxels these are; None where that is more than one cut."""
        if self.name != self._original or len(self._cuts) > 1:
            return None
        key = self._cuts[0] if self._cuts else ()
        if not all(map(_is_plain, key)):
            return None
        rest = (slice(None),) * (self._stack.ndim - 1 - len(key))
        return Cut(self._stack.grid.shape, (*key, *rest))

    def _mean(self, cut: Cut, *, skipna: bool) -> _LocalArray:
        """Add up the maps of each chunk while they are read, then the sums."""
        name = f"mean-{_name_of(self.name, skipna)}"
        graph: dict[Any, Any] = {}
        sums: list[Any] = []
        for first in range(0, len(self), self._rows):
            part = self._stack.take(slice(first, first + self._rows))
            sums.append((f"total-{name}", first, 1))
            graph[sums[-1]] = (partial(part.total, cut),)
        # NOTE: two by two, so that few of them wait for others to be there.
        while len(sums) > 1:
            pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
            sums = [_joined(graph, pair) for pair in pairs]
        end = (name, *(0,) * len(cut.part))
        graph[end] = (partial(Total.mean, skipna=skipna), sums[0])
        plain = da.Array(
            HighLevelGraph.from_collections(name, graph),
            name,
            tuple((size,) for size in cut.part),
            meta=np.empty((0,) * len(cut.part), dtype=self.dtype),
        )
        return _LocalArray._like(plain)


class VoxelArray(_StackArray):
    """A dask array of images by voxels, which reads no other voxels of a map.

    As a `MapArray` it forgets the maps that are not chosen.
    """

    _numbers: NDArray[np.intp]

    @classmethod
    def of(
        cls, stack: MapStack, rows: int, token: str, numbers: NDArray[np.intp]
    ) -> VoxelArray:
        """Make the array; the parameters are those of `MapArray.of` and its `pick`."""
        digest = hashlib.sha256(numbers.tobytes()).hexdigest()
        name = _name_of(token, rows, stack.fingerprint, digest)
        # NOTE: one value of the graph, which each worker of a cluster is sent once.
        chosen = f"voxels-{name}"
        layer = blockwise(
            _picked,
            name,
            "iv",
            _Parts(stack, rows, name, ndim=1),
            "i",
            chosen,
            "v",
            numblocks={chosen: (1,)},
        )
        layers = {name: layer, chosen: {(chosen, 0): numbers}}
        plain = da.Array(
            HighLevelGraph(layers, {name: {chosen}, chosen: set()}),
            name,
            normalize_chunks((rows, len(numbers)), (len(stack.maps), len(numbers))),
            meta=np.empty((0, 0), dtype=stack.dtype),
        )
        array = cls._around(plain, stack, rows, token)
        array._numbers = numbers
        return array

    def __getitem__(self, index: Any) -> Any:
        rows, *voxels = index if isinstance(index, tuple) else (index,)
        if self.name != self._original or not _chooses(rows):
            return da.Array.__getitem__(self, index)
        stack = self._stack.take(np.atleast_1d(rows))
        chosen = VoxelArray.of(stack, self._rows, self._token, self._numbers)
        if np.ndim(rows):
            return chosen[:, *voxels] if voxels else chosen
        return _LocalArray._like(da.Array.__getitem__(chosen, (0, *voxels)))

    def _part(self) -> Picked | None:
        if self.name != self._original:
            return None
        return Picked(self._stack.grid.shape, self._numbers)


def _name_of(*parts: object) -> str:
    digest = hashlib.sha256("|".join(map(str, parts)).encode())
    return f"neurovault-{digest.hexdigest()[:32]}"


def _chooses(rows: Any) -> bool:
    """Tell whether an index is of single rows."""
    if isinstance(rows, int | np.integer):
        return True
    return isinstance(rows, list | np.ndarray) and len(rows) > 0


def _is_plain(index: Any) -> bool:
    """Tell whether an index of one axis is what a cut understands."""
    if isinstance(index, np.ndarray):
        return index.ndim == 1 and index.dtype.kind == "i"
    return isinstance(index, int | np.integer | slice) and not isinstance(index, bool)


def _picked(stack: MapStack, numbers: NDArray[np.intp]) -> Block:
    """Read single voxels of the maps of a chunk."""
    return stack.read(Picked(stack.grid.shape, numbers))


def _joined(graph: dict[Any, Any], keys: list[tuple[str, int, int]]) -> Any:
    """Have one or two totals added up in a graph, and name the outcome."""
    if len(keys) == 1:
        return keys[0]
    name, first, level = keys[0]
    graph[key := (name, first, level + 1)] = (Total.join, *keys)
    return key


def _read(stack: MapStack, rows: int, cut: Cut | Picked) -> Block:
    """Read maps to where they stay, a few at a time in each of dask's threads."""
    block = cut.empty(len(stack.maps))
    graph = {}
    for first in range(0, len(stack.maps), rows):
        some = slice(first, first + rows)
        fill = partial(stack.take(some).fill, cut, block[some])
        graph["maps", first] = (fill,)
    threaded.get(graph, list(graph))
    return block
