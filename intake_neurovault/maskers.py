"""nilearn's maskers, made to fit a grid: the caller's own are never changed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake_neurovault.errors import ArgumentError
from intake_neurovault.grid import Grid
from intake_neurovault.headers import make_image

__all__ = ["Fitted", "fit_masker"]

_KINDS = {
    "NiftiMasker": "voxels",
    "MultiNiftiMasker": "voxels",
    "NiftiLabelsMasker": "labels",
    "MultiNiftiLabelsMasker": "labels",
    "NiftiMapsMasker": "maps",
    "MultiNiftiMapsMasker": "maps",
    "NiftiSpheresMasker": "spheres",
}
_SCALER = (
    "set it to None and put sklearn.preprocessing.StandardScaler() before the "
    "estimator of the Pipeline"
)
_SERIES = (
    "leave it out, and call nilearn.signal.clean on matrix.values if its rows are a "
    "series"
)
_ACROSS = {
    "standardize": _SCALER,
    "detrend": _SERIES,
    "low_pass": _SERIES,
    "high_pass": _SERIES,
    "t_r": _SERIES,
    "runs": _SERIES,
    "high_variance_confounds": _SERIES,
    "clean_args": _SERIES,
}
"""Options that look at all maps at once, and what to do in their place."""
_QUIET = {"standardize": None, "reports": False, "memory": None, "verbose": 0}
_LEARNT = {
    "mask_img": "mask_img_",
    "maps_img": "maps_img_",
    "labels_img": "labels_img_",
}
_FROM_MAPS = ("background", "epi")


@dataclass(frozen=True, eq=False)
class Fitted:
    """A masker whose images lie on one grid."""

    kind: str
    """``voxels``, ``labels``, ``maps`` or ``spheres``."""
    masker: Any
    """A copy of the caller's, fitted, that no longer looks across maps."""
    grid: Grid
    """Where the columns are taken: the grid of the maps, unless the masker asks for
    another, to which maps are then brought."""

    @property
    def fwhm(self) -> Any:
        """How far each map is smoothed before, in millimetres; None for not at all."""
        return self.masker.smoothing_fwhm

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of the values that was asked for; None for that of the maps."""
        asked = self.masker.dtype
        if asked is None:
            return None
        return np.dtype(np.float32 if asked == "auto" else asked)


def fit_masker(masker: Any, grid: Grid) -> Fitted:
    """Fit a copy of a masker to maps that lie on a grid.

    Parameters
    ----------
    masker : nilearn.maskers.NiftiMasker or another for volumes
        Fitted or not; it is not changed. Of a fitted one the images are taken that
        it found when it was fitted.
    grid : Grid
        Where the voxels of the maps lie. As in nilearn, ``resampling_target`` says
        whether an atlas is brought to it, or the maps to the atlas; to the mask of a
        ``NiftiMasker`` the maps are brought.

    Returns
    -------
    Fitted
        The copy.

    Raises
    ------
    ArgumentError
        If it is another kind of object; if it has an option that looks across maps,
        such as ``standardize``; if its mask would have to be computed from all maps;
        or if it does not fit the grid.

    Examples
    --------
    >>> from nilearn.maskers import NiftiSpheresMasker
    >>> from intake_neurovault.grid import parse_grid
    >>> masker = NiftiSpheresMasker([(0, 0, 0)], radius=8)
    >>> fit_masker(masker, parse_grid(6)).kind
    'spheres'
    """
    name = type(masker).__name__
    kind = _KINDS.get(name)
    if kind is None or not type(masker).__module__.startswith("nilearn."):
        msg = (
            f"{name} cannot make a matrix of volumes; give one of nilearn.maskers: "
            f"{', '.join(_KINDS)}"
        )
        raise ArgumentError(msg)
    settings = masker.get_params(deep=False)
    _refuse_series(name, settings)
    copy = type(masker)(**_copied(masker, settings))
    _refuse_mask_of_maps(name, copy)
    try:
        # NOTE: nilearn warns of images where a mask is given.
        given = kind == "voxels" and copy.mask_img is not None
        copy.fit() if given else copy.fit(_template(grid))
    except (ValueError, TypeError, OSError) as error:
        msg = f"{name} cannot be used on the grid of {grid.describe()}: {error}"
        raise ArgumentError(msg) from error
    return Fitted(kind, copy, _target(copy, grid))


def _refuse_series(name: str, settings: dict[str, Any]) -> None:
    """Refuse what would need all maps at once."""
    for option, instead in _ACROSS.items():
        value = settings.get(option)
        if value is None or value is False or (option == "clean_args" and not value):
            continue
        msg = (
            f"{name}({option}={value!r}) works across maps, which are read one by one "
            f"here; {instead}"
        )
        raise ArgumentError(msg)


def _copied(masker: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Give the parameters of a copy, with what the masker learnt when fitted."""
    learnt = {
        option: getattr(masker, attribute)
        for option, attribute in _LEARNT.items()
        if getattr(masker, attribute, None) is not None
    }
    if "labels_img" in learnt:
        # NOTE: names by label stay true where resampling has lost some.
        learnt |= {"labels": None, "lut": masker.lut_}
    quiet = {name: value for name, value in _QUIET.items() if name in settings}
    # NOTE: with a target shape nilearn writes into a report, even without one.
    quiet["reports"] = settings.get("target_shape") is not None
    rest = {n: v for n, v in settings.items() if n not in learnt and n not in quiet}
    return deepcopy({**rest, **learnt}) | quiet


def _refuse_mask_of_maps(name: str, masker: Any) -> None:
    """Refuse a masker that has yet to find its mask in the maps."""
    if getattr(masker, "mask_strategy", None) not in _FROM_MAPS:
        return
    if masker.mask_img is None:
        msg = (
            f"{name}(mask_strategy={masker.mask_strategy!r}) without a mask would read "
            "all maps to find one; give it mask_img, fit it first, or choose "
            "mask_strategy='whole-brain-template'"
        )
        raise ArgumentError(msg)


def _template(grid: Grid) -> Any:
    """Make an image on a grid, which tells a masker where maps lie."""
    nothing = np.zeros(grid.shape, dtype=np.float32)
    return make_image(nothing, grid.matrix)


def _target(masker: Any, grid: Grid) -> Grid:
    """Say where the images of a fitted masker lie."""
    for attribute in ("labels_img_", "maps_img_"):
        if hasattr(masker, attribute):
            return _near(getattr(masker, attribute), grid)
    if hasattr(masker, "seeds"):
        return grid
    return _near(masker.mask_img_, grid)


def _near(image: Any, grid: Grid) -> Grid:
    """Give the grid of an image; the one of the maps where both are the same."""
    found = Grid.from_affine(image.affine, image.shape[:3])
    return grid if found.isclose(grid) else found
