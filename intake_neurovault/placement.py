"""Which images stand on which grid, and in which template space."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from intake_neurovault.errors import GeometryError, NeuroVaultWarning
from intake_neurovault.fieldwise import Images
from intake_neurovault.grid import GRIDS, Grid
from intake_neurovault.nifti import Geometry
from intake_neurovault.records import Image

__all__ = [
    "Group",
    "node_name",
    "node_names",
    "place",
    "several_grids",
    "warn_of_other_spaces",
    "warn_of_unplaced",
]

_SOME = 5
_MNI_CODE, _ALIGNED_CODE = 4, 2
_MNI_NAMES = frozenset({"genericmni", "mni305", "mnicolin27"})
_HUMAN_NAMES = frozenset({"homo sapiens", "human"})


@dataclass(frozen=True)
class Group:
    """Images on one grid."""

    geometry: Geometry
    """Where their voxels lie."""
    rows: tuple[int, ...]
    """Which images: positions in the list they were taken from."""


def place(
    images: Sequence[Image],
    grid: Grid | None,
    geometries: Sequence[Geometry | None] | None,
) -> list[Group]:
    """Tell which images stand on which grid.

    Parameters
    ----------
    images : sequence of Image
        The images.
    grid : Grid or None
        The grid to which all are brought; None if each stays on its own.
    geometries : sequence of Geometry or None, optional
        For ``grid=None``: where the voxels of each image lie; None for a file that
        could not be had.

    Returns
    -------
    list of Group
        In the order of their first images. Grids less than a thousandth of a
        millimetre apart count as one, that of the first image.

    Raises
    ------
    GeometryError
        If none of the grids is known.
    """
    if grid is not None:
        return [Group(_resampled(grid, images), tuple(range(len(images))))]
    found: list[tuple[Geometry, list[int]]] = []
    for i, geometry in enumerate(geometries or ()):
        if geometry is None:
            continue
        near = (rows for first, rows in found if first.grid.isclose(geometry.grid))
        rows = next(near, None)
        if rows is None:
            found.append((geometry, [i]))
        else:
            rows.append(i)
    if not found:
        msg = (
            f"the grid of none of {len(images)} images is known, since no file could "
            'be had; see the failures, or pass grid="mni152-3mm", which needs no file'
        )
        raise GeometryError(msg)
    return [
        Group(_common(first, rows, geometries), tuple(rows)) for first, rows in found
    ]


def _common(
    first: Geometry, rows: Sequence[int], geometries: Sequence[Geometry | None] | None
) -> Geometry:
    """Keep of the first header what all headers of a group say."""
    others = (geometries[i] for i in rows) if geometries else ()
    texts = {each.description for each in others if each is not None}
    return first if len(texts) == 1 else replace(first, description="")


def _resampled(grid: Grid, images: Sequence[Image]) -> Geometry:
    """Describe a grid to which all maps are brought.

    The codes are NIfTI's: 4 for MNI space, 2 for "aligned to something".
    """
    code = _ALIGNED_CODE if _foreign(images) else _MNI_CODE
    # A qform holds no shear, so only the sform can say where an oblique grid is.
    qform_code = code if grid.axis_aligned else 0
    return Geometry(grid, code, qform_code, "mm sec", "", "float32")


def several_grids(images: Sequence[Image], groups: Sequence[Group]) -> str:
    """Say that there are several grids, and both ways out.

    Parameters
    ----------
    images : sequence of Image
        The images.
    groups : sequence of Group
        Their grids.

    Returns
    -------
    str
        A message with one image of each grid.
    """
    examples = "; ".join(
        f"image {images[group.rows[0]].id}: {group.geometry.grid.describe()}"
        for group in groups[:_SOME]
    )
    return (
        f"the images lie on {len(groups)} different grids ({examples}); pass "
        'grid="mni152-3mm" or another grid to bring them to one, or call '
        ".to_datatree() to keep them apart"
    )


def node_name(grid: Grid) -> str:
    """Name the node of a grid in a tree.

    Parameters
    ----------
    grid : Grid
        Any grid.

    Returns
    -------
    str
        The name of the preset that it is, if any, with underscores; else ``grid_``
        and eight digits of a digest of its numbers.

    Examples
    --------
    >>> node_name(GRIDS["mni152-2mm"])
    'mni152_2mm'
    >>> node_name(Grid((2.0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1), (5, 6, 7)))
    'grid_c6d68977'
    """
    for name, preset in GRIDS.items():
        if preset.isclose(grid):
            return name.replace("-", "_")
    return _numbered(grid)


def node_names(groups: Sequence[Group]) -> list[str]:
    """Name the nodes of all grids in a tree.

    Parameters
    ----------
    groups : sequence of Group
        Their grids.

    Returns
    -------
    list of str
        As `node_name` gives them, each once: of two grids that are both close to a
        preset, but not to each other, the first bears its name.
    """
    names: list[str] = []
    for group in groups:
        name = node_name(group.geometry.grid)
        names.append(_numbered(group.geometry.grid) if name in names else name)
    return names


def _numbered(grid: Grid) -> str:
    digest = hashlib.sha256(json.dumps([grid.affine, grid.shape]).encode())
    return f"grid_{digest.hexdigest()[:8]}"


def warn_of_unplaced(images: Sequence[Image]) -> None:
    """Warn of images that are in no group.

    Parameters
    ----------
    images : sequence of Image
        Those whose grid is not known; nothing happens if there are none.

    Warns
    -----
    NeuroVaultWarning
        Names them.
    """
    if images:
        ids = ", ".join(str(each.id) for each in images[:_SOME])
        more = f" and {len(images) - _SOME} more" if len(images) > _SOME else ""
        msg = (
            f"the grid of {len(images)} images is not known, since their files could "
            f"not be had; they are left out of the tree: {ids}{more}; see the failures"
        )
        warnings.warn(msg, NeuroVaultWarning, stacklevel=3)


def _foreign(images: Sequence[Image]) -> list[tuple[int, str]]:
    """Name the spaces or species of maps that are not in human MNI space."""
    images = Images.of(images)
    spaces, species = map(images.field, ("target_template_image", "subject_species"))
    given = list(zip(spaces.values, species.values, strict=True))
    # NOTE: of a hundred thousand images few differ in these.
    named = {each: found for each in set(given) if (found := _elsewhere(*each))}
    if not named:
        return []
    pairs = zip(images, map(named.get, given), strict=True)
    return [(image.id, found) for image, found in pairs if found]


def _elsewhere(space: str | None, species: str | None) -> str | None:
    space, species = space or "GenericMNI", species or "homo sapiens"
    named = space.lower()
    if named not in _MNI_NAMES and not named.startswith("mni152"):
        return space
    return None if species.lower() in _HUMAN_NAMES else species


def warn_of_other_spaces(images: Sequence[Image], *, everywhere: bool) -> None:
    """Warn of maps in another space than the grid's, or than the other maps'.

    Parameters
    ----------
    images : sequence of Image
        Maps of one cube.
    everywhere : bool
        Whether to warn of maps outside human MNI space even if all are: true where
        they are brought to a grid, false where they stay on their own.

    Warns
    -----
    NeuroVaultWarning
        Names them, and how to leave them out.

    Notes
    -----
    The server's own check (``not_mni``) is made for ``GenericMNI`` only and says
    nothing of a mouse. The MNI152 templates, MNI305 and Colin27 agree within a few
    millimetres; Talairach's does not. A record without template or species counts
    as human and MNI, which is what NeuroVault asks for.
    """
    foreign = _foreign(images)
    if not foreign or (len(foreign) == len(images) and not everywhere):
        return
    examples = ", ".join(
        f"image {number}: {named}" for number, named in foreign[:_SOME]
    )
    more = f", and {len(foreign) - _SOME} more" if len(foreign) > _SOME else ""
    msg = (
        f"{len(foreign)} of {len(images)} maps are not in human MNI space by their "
        f"records ({examples}{more}); their voxels do not match those of the others: "
        "leave them out with image_terms={'target_template_image': 'GenericMNI', "
        "'subject_species': 'homo sapiens'}"
    )
    warnings.warn(msg, NeuroVaultWarning, stacklevel=5)
