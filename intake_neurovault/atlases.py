"""What may stand for columns of a matrix: masks, atlases, places, maskers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.mask_files import load_mask

__all__ = ["Atlas", "parse_atlas"]

_BACKGROUND = "background"
_NAME_COLUMNS = ("name", "difumo_names")
"""In which column a table of labels names the regions; the second is DiFuMo's."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Which columns are meant: a mask, or a masker of nilearn.

    Examples
    --------
    >>> parse_atlas([(-40, -20, 55), (40, -20, 55)], radius=8).masker.radius
    8
    """

    mask: Any = None
    """What :func:`.regions.parse_mask` understands, where there is no masker."""
    masker: Any = None
    """nilearn's masker, as the caller made it."""
    names: tuple[str, ...] = ()
    """Names of the regions, where the masker itself has none."""


def parse_atlas(given: Any, radius: float | None = None) -> Atlas:
    """Understand what the columns of a matrix shall be.

    Parameters
    ----------
    given : object
        A mask, or None for that of the brain; one of nilearn's maskers; what
        ``nilearn.datasets.fetch_atlas_…`` or ``fetch_coords_…`` gives; the path of an
        image, or an image, 3-D with whole numbers as labels, or 4-D with a map for
        each region; or places, as triples of millimetres.
    radius : float, optional
        Of the spheres around places, in millimetres.

    Returns
    -------
    Atlas
        Nothing of it is on a grid yet.

    Raises
    ------
    ArgumentError
        If it is none of these, a file that cannot be read, or `radius` is given
        where there are no places.
    CorruptFileError
        If a file is damaged.
    GeometryError
        If an image is neither a mask nor an atlas.

    Notes
    -----
    Which image is an atlas is told by its values: a mask has one value besides 0, an
    atlas several, all whole.
    """
    atlas = _parsed(given, radius)
    if radius is not None and not hasattr(atlas.masker, "seeds"):
        msg = (
            f"radius={radius!r} is for places, such as [(-40, -20, 55)]; leave it out, "
            "or give places as the first argument"
        )
        raise ArgumentError(msg)
    return atlas


def _parsed(given: Any, radius: float | None) -> Atlas:
    if hasattr(given, "inverse_transform") and hasattr(given, "get_params"):
        if radius is not None and hasattr(given, "seeds"):
            msg = f"radius={radius!r}: the masker has its own radius, set it there"
            raise ArgumentError(msg)
        return Atlas(masker=given)
    if isinstance(given, Mapping):
        return _fetched(given, radius)
    if isinstance(given, str | os.PathLike):
        given = load_mask(given)
    if hasattr(given, "affine") and hasattr(given, "dataobj"):
        return _pictured(given)
    places = _places(given)
    return Atlas(mask=given) if places is None else _spheres(places, radius)


def _fetched(atlas: Mapping[str, Any], radius: float | None) -> Atlas:
    """Take what one of nilearn's fetchers gave."""
    if "rois" in atlas:
        rois = atlas["rois"]
        places = np.column_stack([np.asarray(rois[axis]) for axis in "xyz"])
        return _spheres(places, radius)
    if "maps" not in atlas:
        kind = "surfaces" if "map_left" in atlas else "no image"
        msg = (
            f"the atlas has {kind}, no 'maps' (it has {', '.join(map(str, atlas))}); "
            "give one whose 'maps' is a NIfTI image or its path"
        )
        raise ArgumentError(msg)
    image = atlas["maps"]
    if isinstance(image, str | os.PathLike):
        image = load_mask(image)
    if not hasattr(image, "dataobj"):
        msg = f"the 'maps' of an atlas are a NIfTI image or a path, not {type(image)}"
        raise ArgumentError(msg)
    if len(_shape(image)) == 3:
        table = atlas.get("lut")
        labels = None if table is not None else _texts(atlas.get("labels")) or None
        return Atlas(masker=_maskers().NiftiLabelsMasker(image, labels, table))
    if atlas.get("atlas_type") == "deterministic":
        msg = (
            f"the atlas holds {_shape(image)[3]} parcellations in one image; choose "
            "one, as nilearn.image.index_img(atlas.maps, 0) does"
        )
        raise GeometryError(msg)
    names = _texts(atlas.get("labels"))
    if names and names[0].lower() == _BACKGROUND:
        names = names[1:]
    return _probabilistic(image, names)


def _pictured(image: Any) -> Atlas:
    """Tell by its values what an image is."""
    shape = _shape(image)
    if len(shape) == 4:
        return _probabilistic(image, [])
    if len(shape) != 3:
        return Atlas(mask=image)
    values = np.nan_to_num(np.asanyarray(image.dataobj))
    found = values[values != 0]
    several = found.size and (found != found.flat[0]).any()
    if several and (found == np.rint(found)).all():
        return Atlas(masker=_maskers().NiftiLabelsMasker(image))
    return Atlas(mask=image)


def _probabilistic(image: Any, names: list[str]) -> Atlas:
    """Take an image with a map for each region."""
    if names and len(names) != _shape(image)[3]:
        msg = (
            f"the atlas has {len(names)} labels for {_shape(image)[3]} maps; make both "
            "the same, or give its maps alone"
        )
        raise ArgumentError(msg)
    return Atlas(masker=_maskers().NiftiMapsMasker(image), names=tuple(names))


def _spheres(places: Any, radius: float | None) -> Atlas:
    # NOTE: each sphere is a column of its own, so that nothing forbids an overlap.
    seeds = [tuple(map(float, place)) for place in places]
    masker = _maskers().NiftiSpheresMasker(seeds, radius, allow_overlap=True)
    return Atlas(masker=masker)


def _places(given: Any) -> Any:
    """Give triples of numbers as an array; None for anything else."""
    if not isinstance(given, list | tuple | np.ndarray) or len(given) == 0:
        return None
    try:
        places = np.asarray(given)
    except ValueError:  # rows of several lengths
        return None
    if places.ndim == 2 and places.shape[1] == 3 and places.dtype.kind in "iuf":
        return places
    return None


def _texts(labels: Any) -> list[str]:
    """Give the names among the labels of an atlas: a list, or a table."""
    if labels is None:
        return []
    columns = getattr(labels, "columns", ())
    for name in _NAME_COLUMNS:
        if name in columns:
            labels = labels[name]
    return [
        label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
        for label in labels
    ]


def _shape(image: Any) -> tuple[int, ...]:
    """Give the shape of an image without trailing dimensions of one."""
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _maskers() -> Any:
    """Load nilearn's maskers when the first is needed, which takes a second."""
    return import_module("nilearn.maskers")
