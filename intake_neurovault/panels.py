"""One of many maps: what it is, its scale among the others, and its small picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.drawing import load, usual

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from nilearn.plotting.displays import BaseSlicer

__all__ = ["Panel", "common_scale", "draw_panel"]

_BOTH = frozenset({"ortho", "x", "y", "z", "xz", "yx", "yz"})
_GLASS = _BOTH | {"l", "r", "lr", "lzr", "lyr", "lzry", "lyrz"}
_SLICES = _BOTH | {"tiled", "mosaic"}
_FOUND = frozenset({"ortho", "tiled", "x", "y", "z"})
_CUTS = 7  # nilearn's number of slices along one direction
_OF_REGIONS = frozenset({"bg_img", "black_bg", "dim", "radiological"})
_OF_NOTHING = frozenset({"alpha", "black_bg", "radiological"})
_LETTERS = 7  # points, of what is written into a panel
_THIN = 0.45  # of nilearn's lines, which are made for brains twice as large
_OUTLYING = 2
_STRONG = 80  # percent, as nilearn's threshold of glass brains
_LEAST = 1e-6


@dataclass(frozen=True)
class Panel:
    """One of many maps.

    Examples
    --------
    >>> Panel("32015: faces").peak
    0.0
    """

    title: str
    """What is written above it, in one line."""
    image: Any = None
    """The map as a NIfTI image, without NaN; None where there is none."""
    note: str = ""
    """Why nothing is to be seen."""
    labels: bool = False
    """Whether its values are numbers of regions."""
    kind: str = ""
    """What its values are, such as ``"Z map"``."""

    @property
    def heading(self) -> str:
        """Title and note."""
        return f"{self.title} ({self.note})" if self.note else self.title

    @property
    def values(self) -> NDArray[Any]:
        """The values; none where there is no map."""
        empty = self.image is None
        return np.zeros(0) if empty else np.asanyarray(self.image.dataobj)

    @cached_property
    def peak(self) -> float:
        """The largest absolute value."""
        return float(np.abs(self.values).max(initial=0))

    @property
    def place(self) -> tuple[Any, ...]:
        """What two maps have in common that lie on one grid."""
        return self.image.shape, self.image.affine.tobytes()


def common_scale(
    kind: str, panels: Sequence[Panel], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Choose what makes the same colour mean the same value everywhere.

    Parameters
    ----------
    kind : {"glass_brain", "stat_map"}
        What each is drawn as.
    panels : sequence of Panel
        The maps; those of labels, and those without values, do not count.
    given : mapping of str
        What the user says.

    Returns
    -------
    dict
        Arguments for nilearn, none if no map counts. ``vmax`` is the largest absolute
        value, but no more than twice the median of the maps' largest ones. The
        threshold of glass brains is the median of those that nilearn would choose,
        each map's 80th percentile. Slices are cut at one place.

    Examples
    --------
    >>> common_scale("glass_brain", [Panel("nothing")], {})
    {}
    """
    counted = [each for each in panels if each.peak and not each.labels]
    if not counted:
        return {}
    peaks = [each.peak for each in counted]
    # NOTE: a single map of another unit would leave all others without colour.
    told: dict[str, Any] = {
        "vmax": float(min(max(peaks), _OUTLYING * np.median(peaks)))
    }
    if kind == "glass_brain":
        strong = [np.percentile(np.abs(each.values), _STRONG) for each in counted]
        told["threshold"] = min(float(np.median(strong)), 0.99 * told["vmax"])
        if given.get("plot_abs"):
            return told
        return {**told, "plot_abs": False, "symmetric_cbar": True}
    told |= {"threshold": min(1.0, told["vmax"]) * _LEAST, "symmetric_cbar": True}
    if len({each.place for each in counted}) == 1:
        told |= _cuts(counted, given)
    return told


def draw_panel(
    panel: Panel,
    kind: str,
    axes: Axes,
    scale: Mapping[str, Any],
    given: Mapping[str, Any],
) -> BaseSlicer:
    """Draw one map.

    Parameters
    ----------
    panel : Panel
        The map.
    kind : {"glass_brain", "stat_map"}
        What it is drawn as; regions are always drawn as slices, nothing as an empty
        brain.
    axes : matplotlib.axes.Axes
        Where.
    scale : mapping of str
        What all have in common; ``colorbar`` tells whether each has a bar of its own.
    given : mapping of str
        What the user says.

    Returns
    -------
    nilearn.plotting.displays.BaseSlicer
        nilearn's display.
    """
    told: dict[str, Any] = {"annotate": False, "axes": axes, "figure": axes.figure}
    before = set(axes.figure.axes)
    if not panel.peak:
        some = _fitting(given, _OF_NOTHING, _GLASS)
        told |= {"colorbar": False, **some}
        display = load().plot_glass_brain(None, **told)
    elif panel.labels:
        some = _fitting(given, _OF_REGIONS, _SLICES)
        values, affine = panel.values, panel.image.affine
        told |= usual("plot_roi", values, affine, some, labels=True)
        told |= {"colorbar": False, "draw_cross": False, **some}
        display = load().plot_roi(panel.image, **told)
    else:
        told |= {"draw_cross": False} if kind == "stat_map" else {"plot_abs": False}
        function = f"plot_{kind}"
        if "vmax" not in scale:
            ask = {**told, **given}
            told |= usual(function, panel.values, panel.image.affine, ask)
        # NOTE: a number of slices that was given has become the places of these.
        cut = {name: scale[name] for name in ("cut_coords",) if name in scale}
        told |= {**scale, **given, **cut}
        display = getattr(load(), function)(panel.image, **told)
    if given.get("annotate", True):
        display.annotate(size=_LETTERS)
    cuts = {each.ax for each in display.axes.values()}
    for patch in (patch for cut in cuts for patch in cut.patches):
        patch.set_linewidth(_THIN * patch.get_linewidth())
    for bar in set(axes.figure.axes) - before - cuts:
        bar.tick_params(labelsize=_LETTERS)
    return display


def _fitting(
    given: Mapping[str, Any], names: frozenset[str], modes: frozenset[str]
) -> dict[str, Any]:
    """Choose the arguments that another of nilearn's functions takes as well."""
    some = {name: value for name, value in given.items() if name in names}
    mode = given.get("display_mode")
    return {**some, "display_mode": mode} if mode in modes else some


def _cuts(panels: Sequence[Panel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Choose the slices that show most of all maps together."""
    mode, cuts = given.get("display_mode", "ortho"), given.get("cut_coords")
    straight = mode in ("x", "y", "z")
    if not (straight and isinstance(cuts, int)) and (cuts or mode not in _FOUND):
        return {}
    mean = np.mean([np.abs(each.values) for each in panels], axis=0, dtype=np.float32)
    first = panels[0].image
    image = type(first)(mean, first.affine)
    if straight:
        found = load().find_cut_slices(image, direction=mode, n_cuts=cuts or _CUTS)
    else:
        found = load().find_xyz_cut_coords(image)
    return {"cut_coords": [float(each) for each in found]}
