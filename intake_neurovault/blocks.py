"""Maps as a dask array whose chunks carry what they need, and no more."""

from __future__ import annotations

import hashlib
from typing import Any

import dask.array as da
import numpy as np
from dask.array.core import getter, normalize_chunks
from dask.blockwise import BlockwiseDep, blockwise
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from intake_neurovault.stack import MapStack

__all__ = ["MapArray"]


class _Parts(BlockwiseDep):
    """The maps of each chunk, cut out of the stack when its task is made.

    With the stack itself in the graph, as :func:`dask.array.from_array` puts it
    there, every worker would be sent all maps to read the few of a chunk.
    """

    produces_tasks = False

    def __init__(self, stack: MapStack, rows: int, name: str) -> None:
        self._stack, self._rows, self._name = stack, rows, name
        self.numblocks = (-(-len(stack.maps) // rows), 1, 1, 1)

    def __getitem__(self, idx: tuple[int, ...]) -> MapStack:
        first = idx[0] * self._rows
        return self._stack.take(slice(first, first + self._rows))

    def __dask_tokenize__(self) -> str:
        return self._name


class MapArray(da.Array):
    """A dask array of maps that forgets the maps which are not chosen.

    Dask takes single rows out of a chunk after it has made the chunk. Here every
    row is a file that may have to be downloaded, so choosing rows makes a new array
    of these rows alone, to which the cuts made so far along the voxel axes are
    applied again. All else dask does as with any array.
    """

    _stack: MapStack
    _rows: int
    _token: str
    _cuts: tuple[tuple[Any, ...], ...]
    _original: str

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
        digest = hashlib.sha256(f"{token}|{rows}|{stack.fingerprint}".encode())
        name = f"neurovault-{digest.hexdigest()[:32]}"
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
        array = cls._around(plain)
        array._stack, array._rows, array._token = stack, rows, token
        array._cuts = ()
        return array

    @classmethod
    def _around(cls, plain: da.Array) -> MapArray:
        array = cls(plain.dask, plain.name, plain.chunks, meta=plain._meta)
        array._original = plain.name
        return array

    def __getitem__(self, index: Any) -> Any:
        rows, *voxels = index if isinstance(index, tuple) else (index,)
        # Assignment changes an array in place, after which it is no longer the stack.
        if self.name != self._original:
            return da.Array.__getitem__(self, index)
        if isinstance(rows, int | np.integer) or (
            isinstance(rows, list | np.ndarray) and len(rows)
        ):
            chosen = self._chosen(np.atleast_1d(rows))
            if np.ndim(rows):
                return chosen[:, *voxels]
            return da.Array.__getitem__(chosen, (0, *voxels))
        found = da.Array.__getitem__(self, index)
        if isinstance(rows, slice) and rows == slice(None) and found is not self:
            return self._cut(found, tuple(voxels))
        return found

    def _chosen(self, positions: NDArray[Any]) -> MapArray:
        chosen = MapArray.of(self._stack.take(positions), self._rows, self._token)
        for cut in self._cuts:
            chosen = chosen[:, *cut]
        return chosen

    def _cut(self, found: da.Array, voxels: tuple[Any, ...]) -> MapArray:
        array = MapArray._around(found)
        array._stack, array._rows, array._token = self._stack, self._rows, self._token
        array._cuts = (*self._cuts, voxels)
        return array
