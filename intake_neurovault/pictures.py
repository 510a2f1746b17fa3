"""Pictures of labelled arrays, drawn by nilearn."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from intake_neurovault.errors import GeometryError
from intake_neurovault.imaging import image_of
from intake_neurovault.orientation import spatial_dims

if TYPE_CHECKING:
    from nilearn.plotting.displays import BaseSlicer


class Pictures:
    """What can be drawn of an array."""

    _array: xr.DataArray

    def plot_stat_map(self, **arguments: Any) -> BaseSlicer:
        """Draw the map on three slices of the template.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_stat_map`. The title is the
            image's number and name unless given.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        GeometryError
            If it is not one map.
        """
        return _plotting().plot_stat_map(self._picture(), **self._titled(arguments))

    def plot_glass_brain(self, **arguments: Any) -> BaseSlicer:
        """Draw the map as seen through a brain of glass.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain`. The title is the
            image's number and name unless given.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        GeometryError
            If it is not one map.
        """
        return _plotting().plot_glass_brain(self._picture(), **self._titled(arguments))

    def _picture(self) -> Any:
        """Make the one map's image, with zero where it has no finite value."""
        dims = spatial_dims(self._array)
        array = self._array
        others = [dim for dim in array.dims if dim not in dims]
        several = {dim: array.sizes[dim] for dim in others if array.sizes[dim] != 1}
        if several:
            counts = ", ".join(f"{n} along {dim!r}" for dim, n in several.items())
            dim = next(iter(several))
            msg = (
                f"a picture shows one map, this array has {counts}; select one with "
                f'.isel({dim}=0) or .sel({dim}=…), or reduce it, as .mean("{dim}") does'
            )
            raise GeometryError(msg)
        array = array.squeeze(others)
        return image_of(array.where(np.isfinite(array), 0))

    def _titled(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add the title, where there is one image to name."""
        named = (self._array.coords.get(name) for name in ("image", "name"))
        parts = [str(c.item()) for c in named if c is not None and c.size == 1]
        title = ": ".join(part for part in parts if part)
        return {"title": title, **arguments} if title else arguments


def _plotting() -> ModuleType:
    """Load nilearn's plotting when the first picture is drawn.

    With it comes matplotlib: more than a second and 100 MB, which who only reads
    tables or arrays should not pay, and each worker of a cluster even less.
    """
    return import_module("nilearn.plotting")
