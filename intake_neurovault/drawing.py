"""One map drawn by nilearn: what it is told, and what becomes of the picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import Parameter, signature
from os import PathLike, fspath
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.captions import drawable, fitted
from intake_neurovault.errors import ArgumentError
from intake_neurovault.framing import dressed, room_above
from intake_neurovault.parameters import reject_unknown

if TYPE_CHECKING:
    from nilearn.plotting.displays import BaseSlicer
    from nilearn.plotting.html_stat_map import StatMapView

__all__ = [
    "Order",
    "careful",
    "letters",
    "load",
    "reject_names",
    "target_of",
    "usual",
]

_LEAST = 1e-6  # nilearn's threshold of slices
_HALF = 0.5  # nilearn's threshold of regions
_FEW = 12  # colours of matplotlib's "Paired"
_EDGE, _BAR = 0.2, 0.7  # inches beside a title, and for a colour bar
_LABELS = {
    "symmetric_cmap": False,
    "threshold": 0.5,
    "resampling_interpolation": "nearest",
}
_LIMITS = frozenset({"vmin", "vmax", "symmetric_cbar"})
_SEEN_TO = (
    "Given img is empty|empty mask|Resampling binary|Threshold given was"
    "|Warning: (converting a masked|'partition' will ignore)"
)


@dataclass(frozen=True)
class Order:
    """A picture that somebody asked for.

    Examples
    --------
    >>> Order.parse("plot_stat_map", {"threshold": 3}).arguments
    {'threshold': 3}
    """

    function: str
    """Of :mod:`nilearn.plotting`."""
    arguments: Mapping[str, Any]
    """For it, as they were given."""
    target: Path | None = None
    """The file into which the picture goes."""

    @classmethod
    def parse(cls, function: str, arguments: Mapping[str, Any]) -> Order:
        """Understand what is asked for, before a map is read.

        Parameters
        ----------
        function : str
            ``plot_glass_brain``, ``plot_stat_map``, ``plot_roi`` or ``view_img``.
        arguments : mapping of str
            Those of nilearn's function, and ``output_file``.

        Returns
        -------
        Order
            The same, checked.

        Raises
        ------
        ArgumentError
            If there is no folder for the file, or its name does not tell a format.
        UnknownArgumentError
            If neither nilearn nor matplotlib has such an argument.
        """
        given = dict(arguments)
        reject_names(function, given)
        target = target_of(given.pop("output_file", None), view=function == "view_img")
        return cls(function, given, target)

    def draw(self, image: Any, title: str, *, labels: bool = False) -> BaseSlicer:
        """Have it drawn.

        Parameters
        ----------
        image : nibabel.Nifti1Image
            One map, without NaN.
        title : str
            What is written on it unless a title was given.
        labels : bool
            Whether the values are numbers of regions.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display. Where it went into a file, pyplot knows its figure no
            more, but it can still be drawn on and saved.
        """
        values = np.asanyarray(image.dataobj)
        told = usual(self.function, values, image.affine, self.arguments, labels=labels)
        told = {"title": None, **told, **self.arguments}
        with careful():
            display = getattr(load(), self.function)(image, **told)
            if title and "title" not in self.arguments:
                _write(display, title, beside=_BAR if told.get("colorbar", True) else 0)
            if self.target is not None:
                display.savefig(self.target)
                if not {"axes", "figure"} & self.arguments.keys():
                    import_module("matplotlib.pyplot").close(display.frame_axes.figure)
        return display

    def view(self, image: Any, title: str, *, labels: bool) -> StatMapView:
        """Make a page of it.

        Parameters
        ----------
        image : nibabel.Nifti1Image
            One map, without NaN.
        title : str
            What is written on it unless a title was given.
        labels : bool
            Whether the values are numbers of regions.

        Returns
        -------
        nilearn.plotting.html_stat_map.StatMapView
            nilearn's page; it asks for nothing on the internet.
        """
        values = np.asanyarray(image.dataobj)
        told = usual("view_img", values, image.affine, self.arguments, labels=labels)
        given = {**told, **self.arguments}
        text = str(given.pop("title", title) or "")
        with careful():
            page = load().view_img(image, **given)
        page.html = dressed(page.html, text)
        page.height += room_above(text, page.width)
        if self.target is not None:
            page.save_as_html(self.target)
        return page


def usual(
    function: str,
    values: NDArray[Any],
    affine: NDArray[np.float64],
    given: Mapping[str, Any],
    *,
    labels: bool = False,
) -> dict[str, Any]:
    """Choose what nilearn is told of a map, where its own choice shows too little.

    Parameters
    ----------
    function : str
        Of :mod:`nilearn.plotting`.
    values : ndarray of shape (x, y, z)
        The map, without NaN.
    affine : ndarray of shape (4, 4), float64
        Voxel index to millimetres.
    given : mapping of str
        What the user says.
    labels : bool
        Whether the values are numbers of regions.

    Returns
    -------
    dict
        Arguments. The threshold of slices is a millionth of the largest value if that
        is small; a map of one sign keeps the colours of that sign; an absolute value
        may be a negative one's; nothing has no colour bar, and is cut in the middle.

    Examples
    --------
    >>> usual("plot_stat_map", np.full((2, 2, 2), 0.5), np.eye(4), {})
    {'threshold': 5e-07, 'symmetric_cbar': True}
    """
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    peak = max(-low, high)
    if not peak:
        return _nothing(function, values.shape, affine, given)
    colours = {"cmap": _colours(peak)} if labels else {}
    if function == "plot_roi":
        return colours if peak > _HALF else {"threshold": peak * _LEAST}
    least = {"threshold": min(_LEAST, peak * _LEAST)}
    if function == "view_img":
        return _LABELS | colours if labels else least
    if function == "plot_glass_brain" and given.get("plot_abs", True):
        return {} if _LIMITS & given.keys() else {"vmax": peak}
    own = bool({"cmap", *_LIMITS} & given.keys())
    told = {} if own or low < 0 < high else {"symmetric_cbar": True}
    return told if function == "plot_glass_brain" else {**least, **told}


def _colours(peak: float) -> str:
    """Choose colours for regions.

    NOTE: neither white, in which nilearn's end, nor grey: those are the brain's.
    """
    return "Paired" if peak <= _FEW else "gist_rainbow"


def _nothing(
    function: str,
    shape: tuple[int, ...],
    affine: NDArray[np.float64],
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Choose what nilearn is told of a map without any value but 0."""
    told: dict[str, Any] = {"colorbar": False}
    if function == "view_img":
        told["threshold"] = 0
    slices = function != "plot_glass_brain"
    if slices and given.get("display_mode", "ortho") in ("ortho", "tiled"):
        middle = affine @ [*(np.array(shape) - 1) / 2, 1]
        told["cut_coords"] = tuple(middle[:3].tolist())
    return told


def target_of(
    path: str | PathLike[str] | None, name: str = "output_file", *, view: bool = False
) -> Path | None:
    """Check that a picture can go into a file.

    Parameters
    ----------
    path : path, optional
        The file.
    name : str
        The argument, for the message.
    view : bool
        Whether it is a page rather than a picture.

    Returns
    -------
    pathlib.Path or None
        The same.

    Raises
    ------
    ArgumentError
        If there is no such folder, or the name does not tell a format.

    Examples
    --------
    >>> target_of("map.html", view=True).name
    'map.html'
    """
    if path is None:
        return None
    target = Path(fspath(path))
    formats = ("html", "htm") if view else _formats()
    if target.suffix.lower().removeprefix(".") not in formats:
        usually = ".html" if view else ".png, .svg or .pdf"
        msg = (
            f"{name}={str(target)!r} does not end in a format that can be "
            f"written; let it end in {usually}."
        )
        raise ArgumentError(msg)
    if not target.parent.is_dir():
        msg = (
            f"{name}={str(target)!r} cannot be written: there is no folder "
            f"{str(target.parent)!r}; make it, or pass another {name}."
        )
        raise ArgumentError(msg)
    return target


def reject_names(
    function: str, given: Mapping[str, Any], ours: Sequence[str] = ()
) -> None:
    """Refuse arguments that neither nilearn nor matplotlib has.

    Parameters
    ----------
    function : str
        Of :mod:`nilearn.plotting`.
    given : mapping of str
        What was given.
    ours : sequence of str
        Arguments of this package's own that go with them.

    Raises
    ------
    UnknownArgumentError
        If there is such a one, with a suggestion.
    """
    (_, *own) = signature(getattr(load(), function)).parameters.values()
    names = [each.name for each in own if each.kind is not Parameter.VAR_KEYWORD]
    known = {"output_file", *names}
    if len(names) < len(own):
        known |= _image_properties()
    unknown = [name for name in given if name not in known]
    where = "plot_grid()" if ours else f"{function}()"
    reject_unknown(unknown, dict.fromkeys(["output_file", *ours, *names]), where=where)


def letters() -> set[int]:
    """List the letters that matplotlib can draw as it is set up.

    Returns
    -------
    set of int
        Their code points.
    """
    fonts = import_module("matplotlib.font_manager")
    found: set[int] = set()
    for family in import_module("matplotlib").rcParams["font.family"]:
        path = fonts.findfont(fonts.FontProperties(family=[family]))
        found.update(fonts.get_font(path).get_charmap())
    return found


def load() -> ModuleType:
    """Load nilearn's plotting when the first picture is drawn.

    With it comes matplotlib: more than a second and 100 MB, which who only reads
    tables or arrays should not pay, and each worker of a cluster even less.

    Returns
    -------
    module
        :mod:`nilearn.plotting`.
    """
    return import_module("nilearn.plotting")


@contextmanager
def careful() -> Iterator[None]:
    """Draw without leftovers, and without warnings of what was seen to.

    Yields
    ------
    None
        nilearn does not warn of what is no fault of the user's; where drawing fails,
        what was begun is closed.
    """
    pyplot = import_module("matplotlib.pyplot")
    before = set(pyplot.get_fignums())
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _SEEN_TO)
            # NOTE: an older nilearn does what a newer matplotlib will not have.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            yield
    except BaseException:
        for number in set(pyplot.get_fignums()) - before:
            pyplot.close(number)
        raise


def _write(display: BaseSlicer, title: str, beside: float) -> None:
    """Write a title as large as there is room for."""
    frame = display.frame_axes
    inches = frame.get_position().width * frame.figure.get_figwidth()
    text, size = fitted(title, inches - _EDGE - beside)
    display.title(drawable(text, letters()), size=size)


def _formats() -> set[str]:
    bases = import_module("matplotlib.backend_bases")
    return set(bases.FigureCanvasBase.get_supported_filetypes())


@cache
def _image_properties() -> frozenset[str]:
    """Name what matplotlib takes for a picture, to which nilearn hands on."""
    images, axes, artist = (
        import_module(f"matplotlib.{name}") for name in ("image", "axes", "artist")
    )
    named = signature(axes.Axes.imshow).parameters
    setters = artist.ArtistInspector(images.AxesImage).get_setters()
    return frozenset(named) | frozenset(setters)
