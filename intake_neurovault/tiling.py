"""Where things stand on a sheet of small pictures, in inches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Box", "Sheet", "panel_size"]

Box = tuple[float, float, float, float]
"""Left, bottom, width and height."""

_VIEW = (1.0, 1.2)  # inches of one view of a brain
_WIDEST = 13.4  # of a sheet; what is wider is shown too small
_TITLE, _HEADING, _CAPTION, _BAR, _EDGE, _GAP = 0.36, 0.4, 0.28, 0.75, 0.08, 0.12
_FEW = 3  # panels that stand in one row
_SHAPE = 2.0  # of a sheet: how wide, in its height
_CUTS = 7  # that nilearn makes along one direction
_BESIDE = 0.5  # inches for a colour bar of a panel's own
_SMALLEST = 0.4  # of a panel's height that titles leave


def panel_size(
    kind: str, arguments: Mapping[str, Any], *, bars: bool = False
) -> tuple[float, float]:
    """Tell how large one panel has to be.

    Parameters
    ----------
    kind : {"glass_brain", "stat_map"}
        What is drawn.
    arguments : mapping of str
        For nilearn; ``display_mode`` and ``cut_coords`` count.
    bars : bool
        Whether each has a colour bar of its own.

    Returns
    -------
    tuple of float
        Width and height, in inches.

    Examples
    --------
    >>> panel_size("glass_brain", {"display_mode": "x"})
    (1.0, 1.2)
    """
    mode = str(arguments.get("display_mode", "ortho"))
    cuts = arguments.get("cut_coords")
    along = cuts if isinstance(cuts, int) else _CUTS if cuts is None else len(cuts)
    slices = kind == "stat_map"
    if slices and mode in ("x", "y", "z"):
        across, down = along, 1
    elif mode in ("tiled", "mosaic"):
        across, down = (2, 2) if mode == "tiled" else (along, 3)
    else:
        across, down = 3 if mode == "ortho" else len(mode), 1
    width = min(across * _VIEW[0], _WIDEST)
    return width + _BESIDE * bars, width / across * down * _VIEW[1] / _VIEW[0]


@dataclass(frozen=True)
class Sheet:
    """Panels in rows and columns, with what stands around them.

    Examples
    --------
    >>> Sheet(16, (3.0, 1.2)).columns, Sheet(3, (3.0, 1.2)).columns
    (4, 3)
    """

    count: int
    """How many panels."""
    panel: tuple[float, float]
    """Width and height of one, in inches, without its title."""
    ncols: int | None = None
    """How many stand side by side; None for what suits."""
    title: bool = False
    """Whether there is a title above all."""
    caption: bool = False
    """Whether there is a sentence below all."""
    colorbar: bool = False
    """Whether there is one colour bar at the right."""

    @property
    def columns(self) -> int:
        """How many panels stand side by side."""
        if self.ncols is not None:
            return min(self.ncols, self.count)
        width, height = self._cell
        most = max(1, int(_WIDEST // width))
        if self.count <= min(_FEW, most):
            return self.count
        wanted = round(math.sqrt(self.count * height / width * _SHAPE))
        columns = min(max(wanted, 1), most, self.count)
        # NOTE: no more columns than fill the rows: 5 in 2 rows take 3, not 4.
        return math.ceil(self.count / math.ceil(self.count / columns))

    @property
    def rows(self) -> int:
        """How many stand one below the other."""
        return math.ceil(self.count / self.columns)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the sheet, in inches."""
        width, height = self._cell
        return (
            self.columns * width + self._right + _EDGE,
            self.rows * height + self._top + self._bottom,
        )

    def panel_at(self, place: int, size: tuple[float, float]) -> Box:
        """Tell where a panel goes, on a sheet of any size.

        Parameters
        ----------
        place : int
            Which panel, row by row.
        size : tuple of float
            Width and height of the sheet, in inches.

        Returns
        -------
        tuple of float
            Left, bottom, width and height, in inches; its title goes above.
        """
        row, column = divmod(place, self.columns)
        width = (size[0] - self._right - _EDGE) / self.columns
        height = (size[1] - self._top - self._bottom) / self.rows
        tall = max(height - _TITLE, height * _SMALLEST)
        bottom = size[1] - self._top - (row + 1) * height
        return _EDGE + column * width, bottom, max(width - _GAP, width * 0.9), tall

    def bar_at(self, size: tuple[float, float]) -> Box:
        """Tell where the colour bar goes.

        Parameters
        ----------
        size : tuple of float
            Width and height of the sheet, in inches.

        Returns
        -------
        tuple of float
            Left, bottom, width and height, in inches.
        """
        free = size[1] - self._top - self._bottom
        tall = min(free * 0.8, 4.0)
        bottom = self._bottom + (free - tall) / 2
        return size[0] - self._right + _GAP, bottom, 0.14, tall

    @property
    def _cell(self) -> tuple[float, float]:
        return self.panel[0] + _GAP, self.panel[1] + _TITLE

    @property
    def _right(self) -> float:
        return _BAR if self.colorbar else 0.0

    @property
    def _top(self) -> float:
        return _EDGE + (_HEADING if self.title else 0.0)

    @property
    def _bottom(self) -> float:
        return _EDGE + (_CAPTION if self.caption else 0.0)
