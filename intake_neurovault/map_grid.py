"""Many maps in one picture: a panel for each, with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from intake_neurovault.captions import drawable, folded
from intake_neurovault.drawing import (
    careful,
    letters,
    reject_names,
    target_of,
)
from intake_neurovault.errors import ArgumentError
from intake_neurovault.panels import Panel, common_scale, draw_panel
from intake_neurovault.parameters import check_choice
from intake_neurovault.tiling import Box, Sheet, panel_size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from nilearn.plotting.displays import BaseSlicer

__all__ = ["GridOrder", "Kind", "MapGrid"]

Kind = Literal["glass_brain", "stat_map"]

_KINDS = ("glass_brain", "stat_map")
_CHOSEN = ("figure", "symmetric_cbar", "vmin")
_SMALL, _USUAL, _LARGE = 7.5, 8.5, 13  # points
_NEARLY = 1 + 1e-6
_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class MapGrid:
    """Many maps in one picture.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> MapGrid(Figure(), ())
    <MapGrid: 0 maps>
    """

    figure: Figure
    """Where they are drawn."""
    displays: tuple[BaseSlicer, ...]
    """nilearn's display of each, in the order of the maps."""

    def savefig(self, filename: str | PathLike[str], dpi: float | None = None) -> None:
        """Write it into a file.

        Parameters
        ----------
        filename : path
            The file; its suffix tells the format.
        dpi : float, optional
            Dots in an inch.

        Raises
        ------
        ArgumentError
            If there is no such folder, or the name does not tell a format.
        """
        target_of(filename, "filename")
        self.figure.savefig(filename, dpi="figure" if dpi is None else dpi)

    def close(self) -> None:
        """Let pyplot forget the figure."""
        import_module("matplotlib.pyplot").close(self.figure)

    def __repr__(self) -> str:
        return f"<MapGrid: {len(self.displays)} maps>"


@dataclass(frozen=True)
class GridOrder:
    """A picture of many maps that somebody asked for.

    Examples
    --------
    >>> GridOrder.parse(kind="stat_map", threshold=3).arguments
    {'threshold': 3}
    """

    kind: Kind = "glass_brain"
    """``glass_brain`` or ``stat_map``."""
    max_maps: int | None = 16
    """How many maps are drawn at the most; None for all."""
    ncols: int | None = None
    """How many stand side by side; None for what suits."""
    common_scale: bool = True
    """Whether the same colour means the same value everywhere."""
    colorbar: bool = True
    """Whether there is a colour bar."""
    title: str | None = None
    """What stands above all."""
    axes: Axes | None = None
    """Where it is drawn; None for a figure of its own."""
    target: Path | None = None
    """The file into which it goes."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """For nilearn, the same for each map."""

    @classmethod
    def parse(
        cls,
        *,
        output_file: str | PathLike[str] | None = None,
        **given: Any,
    ) -> GridOrder:
        """Understand what is asked for, before a map is read.

        Parameters
        ----------
        output_file : path, optional
            The target.
        **given
            The other fields of this class, and arguments for nilearn.

        Returns
        -------
        GridOrder
            The same, checked.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.
        UnknownArgumentError
            If neither this, nor nilearn, nor matplotlib has such an argument.
        """
        own = {name: given.pop(name) for name in _FIELDS if name in given}
        kind = own.get("kind", cls.kind)
        check_choice("kind", kind, _KINDS)
        for name in _CHOSEN:
            if name in given:
                msg = (
                    f"plot_grid() chooses {name} itself; vmax and common_scale are for "
                    "the colours, axes is for the place."
                )
                raise ArgumentError(msg)
        for name in ("max_maps", "ncols"):
            _check_count(name, own.get(name))
        axes = own.get("axes")
        if axes is not None and not hasattr(axes, "get_position"):
            msg = f"axes={axes!r} must be Axes of matplotlib, as plt.subplots() gives."
            raise ArgumentError(msg)
        reject_names(f"plot_{kind}", given, _FIELDS)
        return cls(**own, target=target_of(output_file), arguments=given)

    def draw(self, panels: Sequence[Panel], total: int) -> MapGrid:
        """Have them drawn.

        Parameters
        ----------
        panels : sequence of Panel
            The maps, at least one.
        total : int
            How many there are, with those that are not drawn.

        Returns
        -------
        MapGrid
            The picture.
        """
        given = self.arguments
        scale = common_scale(self.kind, panels, given) if self.common_scale else {}
        bars = self.colorbar and not self.common_scale
        sheet = Sheet(
            count=len(panels),
            panel=panel_size(self.kind, given, bars=bars),
            ncols=self.ncols,
            title=bool(self.title),
            caption=len(panels) < total,
            colorbar=self.colorbar and bool(scale),
        )
        with careful():
            pen = self._pen(sheet)
            displays = []
            for place, panel in enumerate(panels):
                axes = pen.titled(place, panel)
                told = {"colorbar": bars, **scale}
                displays.append(draw_panel(panel, self.kind, axes, told, given))
            pen.surround(self.title, len(panels), total)
            if sheet.colorbar:
                pen.add_bar(panels, displays)
            grid = MapGrid(pen.figure, tuple(displays))
            if self.target is not None:
                grid.savefig(self.target)
                if self.axes is None:
                    grid.close()
        return grid

    def _pen(self, sheet: Sheet) -> _Pen:
        known = frozenset(letters())
        if self.axes is None:
            pyplot = import_module("matplotlib.pyplot")
            figure = pyplot.figure(figsize=sheet.size, facecolor="w")
            return _Pen(figure, _WHOLE, sheet, known)
        self.axes.axis("off")
        frame = self.axes.get_position().bounds
        return _Pen(self.axes.figure, frame, sheet, known)


_FIELDS = tuple(
    each.name for each in fields(GridOrder) if each.name not in ("target", "arguments")
)


def _check_count(name: str, value: object) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if value is not None and not (whole and int(str(value)) >= 1):
        msg = f"{name}={value!r} must be a whole number, at least 1."
        raise ArgumentError(msg)


@dataclass(frozen=True)
class _Pen:
    """Writes and draws on part of a figure, in inches."""

    figure: Any
    frame: Box
    sheet: Sheet
    letters: frozenset[int]

    @property
    def size(self) -> tuple[float, float]:
        whole = self.figure.get_size_inches()
        return float(self.frame[2] * whole[0]), float(self.frame[3] * whole[1])

    def box(self, inches: Box) -> Box:
        """Say inches of the part as fractions of the figure."""
        (width, height), (left, bottom) = self.size, self.frame[:2]
        across, down = self.frame[2] / width, self.frame[3] / height
        return (
            left + inches[0] * across,
            bottom + inches[1] * down,
            inches[2] * across,
            inches[3] * down,
        )

    def titled(self, place: int, panel: Panel) -> Any:
        """Make the place of one map, with its title."""
        inches = self.sheet.panel_at(place, self.size)
        axes = self.figure.add_axes(self.box(inches))
        lines = folded(panel.title, inches[2], _USUAL, lines=1 if panel.note else 2)
        whole = f"{lines}\n({panel.note})" if panel.note else lines
        text = drawable(whole, self.letters | {ord("\n")})
        axes.set_title(text, fontsize=_USUAL, loc="left", pad=3)
        return axes

    def surround(self, title: str | None, shown: int, total: int) -> None:
        """Write what stands above and below all."""
        if title:
            left, _, _, _ = self.box((0.1, 0, 0, 0))
            top = self.frame[1] + self.frame[3]
            down = self.box((0, 0, 0, 0.08))[3]
            self.figure.text(left, top - down, title, size=_LARGE, va="top")
        if shown < total:
            said = f"The first {shown} of {total} maps; max_maps={total} draws all."
            left, bottom, _, _ = self.box((0.1, 0.08, 0, 0))
            self.figure.text(left, bottom, said, size=_USUAL, color="0.3")

    def add_bar(self, panels: Sequence[Panel], displays: Sequence[BaseSlicer]) -> None:
        """Draw the colour bar that all maps share."""
        counted = [
            (panel, display)
            for panel, display in zip(panels, displays, strict=True)
            if panel.peak and not panel.labels
        ]
        cut = next(iter(counted[0][1].axes.values()))
        drawn = cut.ax.images[-1]
        least, most = drawn.norm.vmin, drawn.norm.vmax
        low = min(float(panel.values.min()) for panel, _ in counted)
        high = max(float(panel.values.max()) for panel, _ in counted)
        if least >= 0:  # absolute values
            low, high = least, max(-low, high)
        below, above = low < least * _NEARLY, high > most * _NEARLY
        extend = {(0, 0): "neither", (0, 1): "max", (1, 0): "min", (1, 1): "both"}
        axes = self.figure.add_axes(self.box(self.sheet.bar_at(self.size)))
        bar = self.figure.colorbar(
            import_module("matplotlib.cm").ScalarMappable(drawn.norm, drawn.cmap),
            cax=axes,
            extend=extend[below, above],
        )
        axes.set_ylim(least if low < 0 else max(least, 0), most if high > 0 else 0)
        axes.tick_params(labelsize=_SMALL)
        kinds = {panel.kind for panel, _ in counted}
        if len(kinds) == 1:
            bar.set_label(kinds.pop(), size=_USUAL)
