"""Meta-analysis: what was found, handed over to NiMARE."""

from __future__ import annotations

import atexit
import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intake_neurovault import atomic, cube
from intake_neurovault.contrasts import (
    Contrast,
    Grouping,
    failure,
    kind_of,
    subjects_of,
    summary,
)
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    ExtraError,
    Failure,
    GridError,
    StoreError,
    UnsuitableError,
)
from intake_neurovault.found import Aftermath, Found
from intake_neurovault.grid import Grid
from intake_neurovault.imaging import mask_image
from intake_neurovault.nifti import Reader, make_image, resolve_grid
from intake_neurovault.nimads import document
from intake_neurovault.notices import warn
from intake_neurovault.pool import Report
from intake_neurovault.records import Image
from intake_neurovault.regions import parse_mask
from intake_neurovault.vault import Vault

if TYPE_CHECKING:
    from nimare.nimads import Studyset

Map = NDArray[np.float32]

_ALIGNED = 2  # NIfTI's code of a space that maps were aligned to
_WORK = "meta-analysis"
_EMPTY = (
    "no voxel inside the mask has a value other than 0 and NaN; look at the map, or "
    "give another mask="
)
_MISSING = (
    "to_nimare() needs NiMARE, which is not installed: "
    'pip install "intake-neurovault[nimare]".'
)
_NO_GRID = (
    "to_nimare() puts all maps on one grid, and grid=None leaves each on its own; "
    "search again with a grid such as grid='mni152-2mm'."
)
_FILLED = (
    "fill_value={value} would be taken for a statistic outside the field of view of a "
    "map; search again with fill_value=0."
)
_ONE_STUDY = (
    "All {count} contrasts are of study {study}, which NiMARE takes for one group of "
    "participants, so that its maps are NaN everywhere; if each has participants of "
    "its own, say so with study='id', or name in study= the field that tells groups "
    "apart."
)


class _Result(Protocol):
    """What of a result is needed to hand it over."""

    reader: Reader
    vault: Vault
    _later: Aftermath

    @property
    def found(self) -> Found: ...

    def _every(self) -> tuple[Image, ...]: ...

    def _fetch(self, images: Sequence[Image]) -> tuple[Path | None, ...]: ...

    def _recipe(self, images: Sequence[Image]) -> cube.Recipe: ...


class Combinable:
    """What a result can do about a meta-analysis."""

    def to_nimare(
        self: _Result,
        folder: str | os.PathLike[str] | None = None,
        *,
        mask: Any = None,
        study: str = "collection_id",
        contrast: str = "id",
        require_sample_sizes: bool = True,
    ) -> Studyset:
        """Hand the maps over to NiMARE for an image-based meta-analysis.

        What is missing is downloaded first. The maps are written on the grid of this
        result, with the mask, so that NiMARE does not resample them again; voxels
        without a finite value are 0, which NiMARE leaves out. A T map is given as a Z
        map too, made by ``nimare.transforms.t_to_z`` with ``number_of_subjects - 1``
        degrees of freedom.

        Parameters
        ----------
        folder : path, optional
            Where the maps are written, as ``image_<id>_<kind>.nii`` of float32; what
            has such a name is replaced. By default a temporary folder, which is
            removed when Python ends.
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            Which voxels NiMARE looks at; nilearn's MNI152 brain mask by default.
        study : str
            The field whose value images of the same participants share. NiMARE
            corrects for what the images of one study have in common. ``"id"`` makes
            each image a study of its own.
        contrast : str
            The field whose value the maps of one contrast share within a study, such
            as a beta map and its variance. By default each image is a contrast.
        require_sample_sizes : bool
            Whether each image must say its number of subjects. Without it, methods
            that weigh by sample size leave out the images that do not.

        Returns
        -------
        nimare.nimads.Studyset
            Studies, their contrasts, and of each contrast the maps (``"z"``, ``"t"``,
            ``"beta"``, ``"varcope"``), ``sample_sizes`` and the other metadata.

        Raises
        ------
        ExtraError
            If NiMARE is not installed.
        UnsuitableError
            With ``errors="raise"``, if images are of another kind, not of a group,
            thresholded, empty, without a number of subjects, or do not fit together.
            With ``"warn"`` and ``"skip"`` they are left out, and stand in
            ``.failures``.
        EmptyResultError
            If nothing matched, or nothing is left.
        GridError
            With ``grid=None``.
        ArgumentError
            If a field has no value in any image, if the mask is none, or if
            ``fill_value`` would be taken for a statistic.
        NeuroVaultError
            With ``errors="raise"``, the first file that cannot be had.

        Warns
        -----
        NeuroVaultWarning
            If all contrasts are of one study; with ``errors="warn"``, if images are
            left out.
        """
        studysets, transforms = _load()
        grid = _grid_of(self.reader)
        images = self._every()
        grouping = Grouping(study, contrast, require_sample_sizes)
        grouping.check(images)
        inside = parse_mask(mask_image(mask), grid)
        contrasts, refused = grouping.sort(images)
        _judge(self, images, refused)
        chosen = _suitable(images, contrasts, refused)
        writer = _Writer(_folder(folder), grid, transforms.t_to_z)
        files, unread = _write_maps(self, chosen, writer, inside)
        had = [image for image in chosen if image.id in files]
        contrasts, lone = grouping.sort(had)
        refused = [*refused, *unread, *lone]
        _judge(self, images, refused)
        _suitable(had, contrasts, refused)
        Report(self.vault.pool.errors, refused).warn("handed over to NiMARE")
        _warn_of_one_study(contrasts)
        name = f"{len(contrasts)} contrasts of NeuroVault"
        content = document(contrasts, self.found.collections, files, name)
        where = str(writer.folder)
        # NOTE: NiMARE writes what it makes of the maps into `basepath`.
        return studysets.Studyset(
            content, mask=writer.write("mask.nii", inside), basepath=where
        )


@dataclass(frozen=True)
class _Writer:
    """Writes maps of one grid into a folder."""

    folder: Path
    grid: Grid
    t_to_z: Callable[[Map, int], NDArray[np.float64]]

    def write_map(self, image: Image, values: Map) -> dict[str, str]:
        """Write a map, and the Z map of a T map; give the path of each kind."""
        kind, subjects = str(kind_of(image)), subjects_of(image)
        maps = {kind: values}
        if kind == "t" and subjects is not None:
            maps["z"] = self.t_to_z(values, subjects - 1).astype(np.float32)
        return {
            kind: self.write(f"image_{image.id}_{kind}.nii", values)
            for kind, values in maps.items()
        }

    def write(self, name: str, values: NDArray[Any]) -> str:
        """Write one file, and give its path."""
        path = self.folder / name
        image = make_image(
            values,
            self.grid.matrix,
            sform_code=_ALIGNED,
            qform_code=_ALIGNED if self.grid.axis_aligned else 0,
            xyzt_units="mm sec",
            description=f"NeuroVault {name}",
        )
        try:
            atomic.write_bytes(path, image.to_bytes(), parents=True)
        except OSError as error:
            msg = f"The map {path} cannot be written ({error}); give another folder."
            raise StoreError(msg) from error
        return str(path)


def _write_maps(
    result: _Result, images: Sequence[Image], writer: _Writer, inside: NDArray[np.bool_]
) -> tuple[dict[int, dict[str, str]], list[Failure]]:
    """Fetch, read and write maps one by one; tell which have no value to offer."""
    paths = result._fetch(images)
    had = [image for image, path in zip(images, paths, strict=True) if path is not None]
    if not had:
        return {}, []
    maps = cube.build(had, result._recipe(had))["maps"]
    files, empty = {}, []
    for image in had:
        found = np.asarray(maps.sel(image=image.id).data)
        values = np.nan_to_num(found, nan=0, posinf=0, neginf=0)
        if values[inside].any():
            files[image.id] = writer.write_map(image, values)
        else:
            empty.append(failure(image, _EMPTY))
    return files, empty


def _load() -> tuple[ModuleType, ModuleType]:
    """Load NiMARE, which only this needs, and which takes seconds."""
    try:
        import_module("nimare")
    except ModuleNotFoundError as error:
        if error.name != "nimare":
            raise
        raise ExtraError(_MISSING) from error
    return import_module("nimare.nimads"), import_module("nimare.transforms")


def _grid_of(reader: Reader) -> Grid:
    """Give the grid of a reader whose maps a meta-analysis can take."""
    grid = resolve_grid(reader.grid)
    if grid is None:
        raise GridError(_NO_GRID)
    if math.isfinite(reader.fill_value) and reader.fill_value != 0:
        raise ArgumentError(_FILLED.format(value=reader.fill_value))
    return grid


def _judge(result: _Result, images: Sequence[Image], refused: list[Failure]) -> None:
    """Note what is refused, and raise unless the rest will do."""
    result._later.note(_WORK, images, refused)
    if refused and result.vault.pool.errors == "raise":
        error = UnsuitableError(summary(refused, len(images)))
        error.failures = tuple(refused)
        raise error


def _suitable(
    images: Sequence[Image], contrasts: Sequence[Contrast], refused: Sequence[Failure]
) -> list[Image]:
    """Give the images that are in contrasts, in order; refuse to go on without any."""
    if not contrasts:
        first = refused[0].reason if refused else "no file could be had, see .failures"
        msg = f"No image can go into a meta-analysis. First: {first}."
        raise EmptyResultError(msg)
    ids = {image.id for each in contrasts for image in each.images}
    return [image for image in images if image.id in ids]


def _folder(folder: str | os.PathLike[str] | None) -> Path:
    """Give an absolute folder: the given one, or one until Python ends."""
    if folder is not None:
        return Path(folder).expanduser().absolute()
    made = mkdtemp(prefix="intake-neurovault-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def _warn_of_one_study(contrasts: Sequence[Contrast]) -> None:
    studies = {each.study for each in contrasts}
    if len(studies) == 1 and len(contrasts) > 1:
        warn(_ONE_STUDY.format(count=len(contrasts), study=studies.pop()))
