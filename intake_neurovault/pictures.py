"""Pictures of labelled arrays, drawn by nilearn."""

from __future__ import annotations

from collections.abc import Hashable
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from intake_neurovault.captions import title_of
from intake_neurovault.drawing import Order
from intake_neurovault.errors import GeometryError
from intake_neurovault.imaging import to_image
from intake_neurovault.map_grid import GridOrder, Kind, MapGrid
from intake_neurovault.orientation import spatial_dims
from intake_neurovault.panels import Panel
from intake_neurovault.records import is_discrete

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from nilearn.plotting.displays import BaseSlicer
    from nilearn.plotting.html_stat_map import StatMapView

__all__ = ["Pictures", "drawn", "panel_of", "viewed"]


class Pictures:
    """What can be drawn of an array.

    Values that are not finite are left empty. Where a file is written, the picture is
    given all the same, but a notebook does not show it.
    """

    _array: xr.DataArray

    def plot_stat_map(self, **arguments: Any) -> BaseSlicer:
        """Draw the map on three slices of the template.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_stat_map`, such as ``axes`` and
            ``output_file`` (PNG, SVG, PDF and others, by its suffix). Unless given,
            the title is the image's number and name, the threshold suits also maps of
            tiny values, and a map of one sign has that sign's colours only.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        ArgumentError
            If the file has no folder, or no format.
        GeometryError
            If it is not one map.
        UnknownArgumentError
            If there is no such argument.
        """
        return drawn(Order.parse("plot_stat_map", arguments), self._array)

    def plot_glass_brain(self, **arguments: Any) -> BaseSlicer:
        """Draw the map as seen through a brain of glass.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain`, such as ``axes`` and
            ``output_file`` (PNG, SVG, PDF and others, by its suffix). The title is
            the image's number and name unless given. nilearn draws absolute values
            unless ``plot_abs=False``.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        ArgumentError
            If the file has no folder, or no format.
        GeometryError
            If it is not one map.
        UnknownArgumentError
            If there is no such argument.
        """
        return drawn(Order.parse("plot_glass_brain", arguments), self._array)

    def plot_roi(self, **arguments: Any) -> BaseSlicer:
        """Draw the regions of a mask, a parcellation or an atlas on slices.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_roi`, such as ``axes``,
            ``view_type="contours"`` and ``output_file`` (PNG, SVG, PDF and others, by
            its suffix). The title is the image's number and name unless given.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        ArgumentError
            If the file has no folder, or no format.
        GeometryError
            If it is not one map.
        UnknownArgumentError
            If there is no such argument.
        """
        return drawn(Order.parse("plot_roi", arguments), self._array)

    def view_img(self, **arguments: Any) -> StatMapView:
        """Make a page on which one walks through the map.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.view_img`, and ``output_file`` for an HTML
            file. The title is the image's number and name unless given; regions of a
            parcellation or an atlas have a colour each.

        Returns
        -------
        nilearn.plotting.html_stat_map.StatMapView
            nilearn's page: notebooks show it, ``save_as_html(path)`` writes it,
            ``open_in_browser()`` opens it. It works without the internet.

        Raises
        ------
        ArgumentError
            If the file has no folder, or is not HTML.
        GeometryError
            If it is not one map.
        UnknownArgumentError
            If there is no such argument.
        """
        return viewed(Order.parse("view_img", arguments), self._array)

    def plot_grid(
        self,
        *,
        kind: Kind = "glass_brain",
        max_maps: int | None = 16,
        ncols: int | None = None,
        common_scale: bool = True,
        colorbar: bool = True,
        title: str | None = None,
        axes: Axes | None = None,
        output_file: str | PathLike[str] | None = None,
        **arguments: Any,
    ) -> MapGrid:
        """Draw many maps in one picture, each with its number and name.

        Parameters
        ----------
        kind : {"glass_brain", "stat_map"}
            What each map is drawn as.
        max_maps : int, optional
            How many are drawn at most, the first ones; the picture says how many there
            are. None draws all.
        ncols : int, optional
            How many stand side by side; what suits their number by default.
        common_scale : bool
            Whether the same colour means the same value in all of them. It reaches up
            to ``vmax``: by default the largest absolute value, but no more than twice
            the median of the maps' largest ones.
        colorbar : bool
            Whether there is a colour bar: one, or one for each without `common_scale`.
        title : str, optional
            What stands above all.
        axes : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own, of a size that can be read, by default.
        output_file : path, optional
            A file for the picture; its suffix tells the format (PNG, SVG, PDF and
            others).
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain` or
            :func:`nilearn.plotting.plot_stat_map`, such as ``threshold`` or
            ``display_mode``, for each map.

        Returns
        -------
        MapGrid
            The picture, with its matplotlib ``figure`` and nilearn's ``displays``.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.
        GeometryError
            If there are several dimensions besides the voxel axes, or no map.
        UnknownArgumentError
            If there is no such argument.

        Notes
        -----
        Glass brains show signs, unless ``plot_abs=True``. Their threshold is the
        median of those that nilearn would choose for each; slices are cut where the
        maps have most in common. Masks, parcellations and atlases are drawn as slices,
        each region in a colour of its own; a map without any value as an empty brain.
        """
        order = GridOrder.parse(
            kind=kind,
            max_maps=max_maps,
            ncols=ncols,
            common_scale=common_scale,
            colorbar=colorbar,
            title=title,
            axes=axes,
            output_file=output_file,
            **arguments,
        )
        array, dim = self._array, _other_dim(self._array)
        if dim is None:
            return order.draw([panel_of(array)], 1)
        # NOTE: all at once, so that files are downloaded and decoded side by side.
        some = array.isel({dim: slice(order.max_maps)}).compute()
        maps = (some.isel({dim: n}) for n in range(some.sizes[dim]))
        return order.draw([panel_of(each, dim) for each in maps], array.sizes[dim])


def drawn(order: Order, array: xr.DataArray) -> BaseSlicer:
    """Draw one map as it was asked for.

    Parameters
    ----------
    order : Order
        What was asked for.
    array : xarray.DataArray
        The map.

    Returns
    -------
    nilearn.plotting.displays.BaseSlicer
        nilearn's display.

    Raises
    ------
    GeometryError
        If it is not one map.
    """
    panel = panel_of(_one(array))
    return order.draw(panel.image, panel.heading, labels=panel.labels)


def viewed(order: Order, array: xr.DataArray) -> StatMapView:
    """Make a page of one map as it was asked for.

    Parameters
    ----------
    order : Order
        What was asked for.
    array : xarray.DataArray
        The map.

    Returns
    -------
    nilearn.plotting.html_stat_map.StatMapView
        nilearn's page.

    Raises
    ------
    GeometryError
        If it is not one map.
    """
    panel = panel_of(_one(array))
    return order.view(panel.image, panel.heading, labels=panel.labels)


def panel_of(array: xr.DataArray, dim: Hashable = "image") -> Panel:
    """Make ready what is drawn of one map.

    Parameters
    ----------
    array : xarray.DataArray
        The map.
    dim : str
        The dimension along which it is one of many.

    Returns
    -------
    Panel
        Its image, with 0 where it has no finite value, and its title.

    Examples
    --------
    >>> steps = {"x": [-9.0, 0.0], "y": [0.0, 9.0], "z": [0.0, 9.0]}
    >>> array = xr.DataArray(np.zeros((2, 2, 2)), steps).assign_coords(image=3)
    >>> panel_of(array).heading
    '3 (all zero)'
    """
    array = array.compute()
    finite = np.isfinite(array)
    whole = array.where(finite, 0)
    # NOTE: nilearn warns of integers of 64 bits, and draws no others better.
    image = to_image(whole if whole.dtype.kind == "f" else whole.astype("float32"))
    values = np.asanyarray(image.dataobj)
    note = "" if values.any() else "all zero" if finite.any() else "no values"
    about = {name: _text(array, name) for name in ("name", "map_type", "image_type")}
    discrete = is_discrete(about["image_type"], about["map_type"])
    return Panel(
        title_of(_text(array, dim), about["name"]),
        image,
        note=note,
        labels=discrete and bool(np.array_equal(values, np.rint(values))),
        kind=about["map_type"],
    )


def _text(array: xr.DataArray, name: Hashable) -> str:
    """Give a coordinate of one value as text; none if it is not there, or null."""
    found = array.coords.get(name)
    if found is None or found.size != 1 or bool(found.isnull().item()):
        return ""
    return str(found.item())


def _one(array: xr.DataArray) -> xr.DataArray:
    """Give the one map that there is.

    A dimension of one row is dropped; what stands on it is kept.
    """
    dims = spatial_dims(array)
    others = [dim for dim in array.dims if dim not in dims]
    several = {dim: array.sizes[dim] for dim in others if array.sizes[dim] != 1}
    if several:
        counts = ", ".join(f"{n} along {dim!r}" for dim, n in several.items())
        dim = next(iter(several))
        msg = (
            f"a picture shows one map, this array has {counts}; select one with "
            f'.isel({dim}=0) or .sel({dim}=…), reduce it, as .mean("{dim}") does, or '
            "draw all with .plot_grid()"
        )
        raise GeometryError(msg)
    return array.squeeze(others)


def _other_dim(array: xr.DataArray) -> Hashable | None:
    """Name the dimension along which there are many maps, if there is one."""
    dims = spatial_dims(array)
    others = [dim for dim in array.dims if dim not in dims]
    if len(others) > 1:
        msg = (
            f"plot_grid() draws the maps along one dimension, this array has "
            f"{', '.join(map(str, others))}; select from or reduce all but one"
        )
        raise GeometryError(msg)
    if others and not array.sizes[others[0]]:
        msg = f"there is no map along {others[0]!r}; select at least one"
        raise GeometryError(msg)
    return others[0] if others else None
