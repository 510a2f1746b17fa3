"""Surface maps of a result: as files, as nilearn's images, as a labelled array."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.columns import image_columns
from intake_neurovault.coordinates import Column, dataset_attrs
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    Failure,
    GeometryError,
    LockError,
    NeuroVaultError,
    OfflineError,
)
from intake_neurovault.fieldwise import Images
from intake_neurovault.found import Aftermath, Found
from intake_neurovault.gifti import read_gifti
from intake_neurovault.hemispheres import HEMISPHERES, Hemisphere
from intake_neurovault.notices import warn
from intake_neurovault.sides import Sides, fetch_sides
from intake_neurovault.surfaces import SurfaceFile
from intake_neurovault.vault import Vault

if TYPE_CHECKING:
    from nilearn.surface import PolyMesh, SurfaceImage

_VERTICES = {
    "fsaverage3": 642,
    "fsaverage4": 2562,
    "fsaverage5": 10242,
    "fsaverage6": 40962,
    "fsaverage7": 163842,
    "fsaverage": 163842,
}
_NESTED = frozenset(_VERTICES.values())
_SHIPPED = "fsaverage5"
_IMAGE = {"long_name": "number of the image on NeuroVault"}
_NONE = (
    "No image of this result has surface files; search for maps that were made on the "
    "cortex, with image_terms={'surface_left_file': {'$null': False}}."
)

Values = dict[int, dict[Hemisphere, NDArray[Any]]]
"""Values at the vertices, by image and hemisphere."""


class Surfaced(ABC):
    """A result whose maps may have surface files."""

    vault: Vault
    """Where maps come from."""
    _later: Aftermath

    @property
    @abstractmethod
    def found(self) -> Found:
        """The outcome of the search, which runs at the first look."""

    @abstractmethod
    def _written(self) -> str:
        """Give the query as JSON."""

    def fetch_surfaces(self) -> dict[int, dict[Hemisphere, Path]]:
        """Download the surface files of the images: verified, each once.

        Few of NeuroVault's maps have any: those that were made on the cortex, where
        ``data_origin`` is ``"surface"``. They lie beside the image in the store, and
        nilearn's fetcher passes over them.

        Returns
        -------
        dict of int to dict of str to pathlib.Path
            By image and by ``"left"`` and ``"right"``, the local GIFTI file. An image
            with one hemisphere has one, and an image with none is left out. What could
            not be had stands in ``.failures``; the reason names the hemisphere.

        Raises
        ------
        LockError
            If the result is frozen, since surface files are not.
        NeuroVaultError
            With ``errors="raise"``, the first failure; what was fetched before it is
            kept.
        """
        return self._sides().paths

    def to_surface_images(
        self, mesh: str | PolyMesh | Mapping[str, Any] = _SHIPPED
    ) -> dict[int, SurfaceImage]:
        """Read the surface maps as nilearn has them; fetches what is missing.

        Parameters
        ----------
        mesh : str, nilearn.surface.PolyMesh or mapping, optional
            On which cortex. A name from ``"fsaverage3"`` to ``"fsaverage7"`` stands for
            nilearn's pial surface. ``"fsaverage5"`` (10,242 vertices each side) ships
            with nilearn, which downloads the others. NeuroVault's own files are on
            ``"fsaverage7"`` (163,842).

        Returns
        -------
        dict of int to nilearn.surface.SurfaceImage
            By image, without those that have no surface file.

        Raises
        ------
        EmptyResultError
            If no image has a surface file, or none could be had.
        GeometryError
            If a file has fewer vertices than the mesh, or not those of an fsaverage.
        ArgumentError
            If `mesh` is nothing that can be one.
        LockError
            If the result is frozen, since surface files are not.
        OfflineError
            With ``mode="offline"``, if nilearn would have to download the mesh.
        NeuroVaultError
            With ``errors="raise"``, the first failure.

        Notes
        -----
        Each mesh of the fsaverage family begins with the vertices of the coarser ones
        [1]_, so that a map is brought to a coarser one by leaving the others out;
        nothing is averaged.

        References
        ----------
        .. [1] A. M. Winkler (2016), Downsampling (decimating) a brain surface,
           https://brainder.org/2016/05/31/downsampling-decimating-a-brain-surface/
        """
        surface = import_module("nilearn.surface")
        # NOTE: a mesh that is a file would be read again for each image.
        cortex = {
            side: part.loaded() if isinstance(part, surface.FileMesh) else part
            for side, part in self._mesh(mesh).parts.items()
        }
        counts = {side: part.n_vertices for side, part in cortex.items()}
        found = {}
        for number, values in self._values(counts).items():
            parts = {side: cortex[side] for side in values}
            found[number] = surface.SurfaceImage(surface.PolyMesh(**parts), values)
        return found

    def to_surface_dataset(self, mesh: str = _SHIPPED) -> xr.Dataset:
        """Read the surface maps as one labelled array; fetches what is missing.

        Parameters
        ----------
        mesh : str, optional
            A name from ``"fsaverage3"`` to ``"fsaverage7"``, as for
            `to_surface_images`. Nothing but its number of vertices is needed.

        Returns
        -------
        xarray.Dataset
            ``maps(image, hemisphere, vertex)``, float32, in memory, with the metadata
            as coordinates on ``image``; NaN for a hemisphere that an image has not.

        Raises
        ------
        EmptyResultError
            If no image has a surface file, or none could be had.
        GeometryError
            If a file does not have one value for each vertex of the mesh.
        ArgumentError
            If `mesh` is not such a name.
        LockError
            If the result is frozen, since surface files are not.
        NeuroVaultError
            With ``errors="raise"``, the first failure.
        """
        count = _vertices(mesh)
        read = self._values(dict.fromkeys(HEMISPHERES, count), single=True)
        images = Images(image for image in self.found.images if image.id in read)
        maps = np.full((len(images), len(HEMISPHERES), count), np.nan, np.float32)
        for row, image in enumerate(images):
            for side, values in read[image.id].items():
                maps[row, HEMISPHERES.index(side)] = values
        about = self.found.collections
        server = self.vault.mirror.client.url
        given = dataset_attrs(images.homes, about, url=server, query=self._written())
        dataset = _dataset(images, maps, image_columns(images, about))
        return dataset.assign_attrs({**given, "mesh": mesh})

    def _sides(self) -> Sides:
        images = self.found.images
        if self.vault.lock is not None:
            msg = (
                "Surface files are not frozen, so that nothing tells whether they are "
                "still the same; .thaw() gives a result with what the server has now."
            )
            raise LockError(msg)
        try:
            sides = fetch_sides(self.vault.mirror, self.vault.pool, images)
        except NeuroVaultError as error:
            self._later.note("surfaces", images, error.failures)
            raise
        self._later.note("surfaces", images, sides.failures)
        if images and not (sides.paths or sides.failures):
            warn(_NONE)
        return sides

    def _values(
        self, counts: Mapping[Hemisphere, int], *, single: bool = False
    ) -> Values:
        """Read all that can be had, image by image."""
        sides = self._sides()
        report = self.vault.pool.report()
        found: Values = {}
        for number, paths in sides.paths.items():
            try:
                found[number] = {
                    side: self._read(sides.files[path], path, counts, single)
                    for side, path in paths.items()
                }
            except NeuroVaultError as error:
                home = sides.files[next(iter(paths.values()))].collection_id
                where = ", ".join(map(str, paths.values()))
                report.failed(Failure(number, home, where, str(error), 0), error)
        report.warn("read")
        self._later.note("surface maps", self.found.images, report.failures)
        if not found:
            msg = "No surface map could be had; .failures says why."
            nothing = not (sides.failures or report.failures)
            raise EmptyResultError(_NONE if nothing else msg)
        return found

    def _read(
        self,
        file: SurfaceFile,
        path: Path,
        counts: Mapping[Hemisphere, int],
        single: bool,
    ) -> NDArray[Any]:
        label = file.label.capitalize()
        arrays = self.vault.mirror.read(file, path, partial(read_gifti, label=label))
        values = _at_vertices(arrays, label)
        have, count = len(values), counts.get(file.hemisphere, 0)
        if single and values.ndim > 1:
            msg = (
                f"{label} has {values.shape[1]} values at each vertex; leave the image "
                "out, or use to_surface_images()."
            )
            raise GeometryError(msg)
        if have != count and not (have > count and {have, count} <= _NESTED):
            msg = (
                f"{label} has {have:,} vertices and the mesh {count:,}; pass one as "
                f"mesh= that has as many{_named(have)}."
            )
            raise GeometryError(msg)
        return values if have == count else values[:count].copy()

    def _mesh(self, mesh: str | PolyMesh | Mapping[str, Any]) -> PolyMesh:
        surface = import_module("nilearn.surface")
        if isinstance(mesh, surface.PolyMesh):
            return mesh
        if isinstance(mesh, Mapping) and mesh.keys() <= set(HEMISPHERES) and mesh:
            return surface.PolyMesh(**mesh)
        _vertices(mesh)
        if mesh != _SHIPPED and self.vault.mirror.offline:
            msg = (
                f"nilearn may have to download the mesh {mesh!r}, which mode='offline' "
                "forbids; pass mesh='fsaverage5', or one that you have: "
                f"nilearn.datasets.load_fsaverage({mesh!r})['pial']."
            )
            raise OfflineError(msg)
        folder = self.vault.mirror.store.root.parent
        datasets = import_module("nilearn.datasets")
        found: PolyMesh = datasets.load_fsaverage(mesh, data_dir=folder)["pial"]
        return found


def _dataset(
    images: Images, maps: NDArray[np.float32], columns: Mapping[str, Column]
) -> xr.Dataset:
    coords: dict[str, Any] = {
        "image": ("image", np.array([each.id for each in images], np.int64), _IMAGE),
        "hemisphere": ("hemisphere", np.array(HEMISPHERES, object)),
        "vertex": ("vertex", np.arange(maps.shape[-1])),
        **{name: ("image", each.values, each.attrs) for name, each in columns.items()},
    }
    dims = ("image", "hemisphere", "vertex")
    attrs = {"long_name": "statistical map on the cortex"}
    return xr.Dataset({"maps": (dims, maps, attrs)}, coords)


def _vertices(mesh: object) -> int:
    """Give the number of vertices on each side of a mesh that has a name."""
    if isinstance(mesh, str) and mesh in _VERTICES:
        return _VERTICES[mesh]
    names = ", ".join(map(repr, _VERTICES))
    msg = f"mesh={mesh!r} is no mesh of the cortex; choose one of {names}."
    raise ArgumentError(msg)


def _named(count: int) -> str:
    names = [name for name, number in _VERTICES.items() if number == count]
    return f", such as {names[0]!r}" if names else ""


def _at_vertices(arrays: Sequence[NDArray[Any]], label: str) -> NDArray[Any]:
    """Give one value for each vertex, or a row of them."""
    columns = [
        each[:, 0] if each.ndim == 2 and each.shape[1] == 1 else each for each in arrays
    ]
    if any(each.ndim != 1 or each.shape != columns[0].shape for each in columns):
        msg = (
            f"{label} holds something else than values at vertices, such as a mesh; "
            "leave the image out."
        )
        raise GeometryError(msg)
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
