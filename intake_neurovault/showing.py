"""Pictures of what a result holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xarray as xr

from intake_neurovault.captions import title_of
from intake_neurovault.drawing import Order
from intake_neurovault.errors import ArgumentError, EmptyResultError
from intake_neurovault.found import Found
from intake_neurovault.map_grid import GridOrder, MapGrid
from intake_neurovault.panels import Panel
from intake_neurovault.pictures import drawn, panel_of, viewed
from intake_neurovault.records import Image
from intake_neurovault.refs import parse_id

if TYPE_CHECKING:
    from nilearn.plotting.displays import BaseSlicer
    from nilearn.plotting.html_stat_map import StatMapView

_SOME = 5  # ids that a message names


class Shown(ABC):
    """A result whose maps can be drawn."""

    @property
    @abstractmethod
    def found(self) -> Found:
        """The outcome of the search, which runs at the first look."""

    @abstractmethod
    def read_partition(self, i: int) -> xr.DataArray:
        """Load one map."""

    @abstractmethod
    def _tree(self, images: Sequence[Image]) -> xr.DataTree:
        """Make lazy cubes of some images."""

    def plot_stat_map(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw one map on three slices of the template.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_stat_map`, such as ``axes`` and
            ``output_file``.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, as ``.nii.plot_stat_map()`` of the map gives it.

        Raises
        ------
        ArgumentError
            If there are several maps and none is chosen, or not this one; if the file
            has no folder, or no format.
        EmptyResultError
            If nothing matched.
        UnknownArgumentError
            If there is no such argument.
        """
        return self._drawn("plot_stat_map", image, arguments)

    def plot_glass_brain(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw one map as seen through a brain of glass.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain`, such as ``axes`` and
            ``output_file``.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, as ``.nii.plot_glass_brain()`` of the map gives it.

        Raises
        ------
        ArgumentError
            If there are several maps and none is chosen, or not this one; if the file
            has no folder, or no format.
        EmptyResultError
            If nothing matched.
        UnknownArgumentError
            If there is no such argument.
        """
        return self._drawn("plot_glass_brain", image, arguments)

    def plot_roi(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw the regions of a mask, a parcellation or an atlas on slices.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_roi`, such as ``axes`` and
            ``output_file``.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, as ``.nii.plot_roi()`` of the map gives it.

        Raises
        ------
        ArgumentError
            If there are several maps and none is chosen, or not this one; if the file
            has no folder, or no format.
        EmptyResultError
            If nothing matched.
        UnknownArgumentError
            If there is no such argument.
        """
        return self._drawn("plot_roi", image, arguments)

    def view_img(self, image: object = None, **arguments: Any) -> StatMapView:
        """Make a page on which one walks through a map.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.view_img`, and ``output_file``.

        Returns
        -------
        nilearn.plotting.html_stat_map.StatMapView
            nilearn's page, as ``.nii.view_img()`` of the map gives it.

        Raises
        ------
        ArgumentError
            If there are several maps and none is chosen, or not this one; if the file
            has no folder, or is not HTML.
        EmptyResultError
            If nothing matched.
        UnknownArgumentError
            If there is no such argument.
        """
        return viewed(Order.parse("view_img", arguments), self._map(image))

    def plot_grid(self, **arguments: Any) -> MapGrid:
        """Draw many maps in one picture, each with its number and name.

        Parameters
        ----------
        **arguments
            ``kind``, ``max_maps`` (16 unless given), ``ncols``, ``common_scale``,
            ``colorbar``, ``title``, ``axes``, ``output_file``, and arguments for
            nilearn, as ``.nii.plot_grid()`` takes them.

        Returns
        -------
        MapGrid
            The picture, with its matplotlib ``figure`` and nilearn's ``displays``. No
            more maps are read than are drawn; each may lie on a grid of its own. One
            that cannot be had is an empty brain that says so.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.
        EmptyResultError
            If nothing matched.
        UnknownArgumentError
            If there is no such argument.
        """
        order = GridOrder.parse(**arguments)
        every = self._every()
        some = every[: order.max_maps]
        panels: dict[int, Panel] = {}
        for node in self._tree(some).children.values():
            maps = node.to_dataset()["maps"].compute()
            panels |= {int(n): panel_of(maps.sel(image=n)) for n in maps["image"]}
        shown = [panels.get(image.id) or _absent(image) for image in some]
        return order.draw(shown, len(every))

    def _drawn(
        self, function: str, image: object, arguments: dict[str, Any]
    ) -> BaseSlicer:
        return drawn(Order.parse(function, arguments), self._map(image))

    def _map(self, chosen: object) -> xr.DataArray:
        """Load the one map that is meant."""
        ids = [image.id for image in self._every()]
        if chosen is None and len(ids) == 1:
            return self.read_partition(0)
        if chosen is None:
            named = ", ".join(map(str, ids[:_SOME])) + (", …" if ids[_SOME:] else "")
            msg = (
                f"this picture shows one map, the result has {len(ids)}: choose one by "
                f"its id, such as image={ids[0]} (there are {named}), or draw them all "
                "with plot_grid()."
            )
            raise ArgumentError(msg)
        wanted = parse_id(chosen)
        if wanted not in ids:
            msg = f"image={wanted} is not in this result; .keys() lists what is."
            raise ArgumentError(msg)
        return self.read_partition(ids.index(wanted))

    def _every(self) -> tuple[Image, ...]:
        found = self.found
        if not found.images:
            raise EmptyResultError(found.why_empty())
        return found.images


def _absent(image: Image) -> Panel:
    title = title_of(image.id, image.metadata.get("name"))
    return Panel(title, note="not to be had")
