"""The axes of a NIfTI file behind the three of space: time, volumes, components."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import xarray as xr

from intake_neurovault.coordinates import Column
from intake_neurovault.errors import GeometryError
from intake_neurovault.notices import warn

__all__ = ["arranged", "further_axes", "times_of"]

_TIME, _VOLUME = "time", "volume"
_OTHERS = ("component", "dim_6", "dim_7")
_SECONDS: Mapping[str, float] = MappingProxyType({"s": 1.0, "ms": 1e-3, "us": 1e-6})


def further_axes(
    shape: Sequence[int], times: tuple[float, float] | None
) -> tuple[dict[str, int], dict[str, Column]]:
    """Name the axes behind the third, and give their coordinates.

    Parameters
    ----------
    shape : sequence of int
        The shape that a header declares.
    times : tuple of float or None
        Start and step of the fourth axis in seconds; None if that is not time.

    Returns
    -------
    sizes : dict of str to int
        ``time``, or ``volume`` where a header gives no time; ``component``, of which
        a field of vectors has three at each voxel; ``dim_6`` and ``dim_7``. Axes of
        one are left out.
    columns : dict of str to Column
        ``time`` in seconds, or ``volume`` counted from 0.

    Examples
    --------
    >>> further_axes((4, 5, 6, 1, 3), None)[0]
    {'component': 3}
    >>> further_axes((4, 5, 6, 3), (0.0, 2.5))[1]["time"].values
    array([0. , 2.5, 5. ])
    """
    names = (_VOLUME if times is None else _TIME, *_OTHERS)
    sizes = {name: n for name, n in zip(names, shape[3:], strict=False) if n > 1}
    columns = {}
    if _TIME in sizes and times is not None:
        start, step = times
        attrs = {"units": "s", "axis": "T", "long_name": "time of the volume"}
        columns[_TIME] = Column(start + step * np.arange(sizes[_TIME]), attrs)
    elif _VOLUME in sizes:
        attrs = {"long_name": "number of the volume in the file, from 0"}
        columns[_VOLUME] = Column(np.arange(sizes[_VOLUME], dtype=np.int64), attrs)
    return sizes, columns


def arranged(array: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Bring the axes of an array into NIfTI's order.

    Parameters
    ----------
    array : xarray.DataArray
        Any array.
    dims : sequence of str
        Its axes of space.

    Returns
    -------
    xarray.DataArray
        Those first. One more axis of any name comes fourth, then ``component``,
        ``dim_6`` and ``dim_7``; for what is missing before the last of them there is
        an axis of one.

    Raises
    ------
    GeometryError
        If there are several for the fourth place.
    """
    others = [dim for dim in array.dims if dim not in dims]
    fourth = [dim for dim in others if dim not in _OTHERS]
    if len(fourth) > 1:
        msg = (
            f"a NIfTI image has one dimension besides {', '.join(dims)}, this array "
            f"has {', '.join(map(str, fourth))}; select from or reduce all but one"
        )
        raise GeometryError(msg)
    order: list[Hashable] = [fourth[0] if fourth else _VOLUME, *_OTHERS]
    while order and order[-1] not in others:
        order.pop()
    absent = [dim for dim in order if dim not in others]
    return (
        array.drop_vars(absent, errors="ignore")
        .expand_dims(absent)
        .transpose(*dims, *order)
    )


def times_of(array: xr.DataArray) -> tuple[float, float] | None:
    """Give start and step of the time axis.

    Parameters
    ----------
    array : xarray.DataArray
        Any array.

    Returns
    -------
    tuple of float, or None
        In seconds, the step NaN if there is only one volume; None if the array has no
        time along an axis, or no numbers for it.

    Warns
    -----
    NeuroVaultWarning
        If the volumes are not evenly spaced in time.
    """
    if _TIME not in array.dims or _TIME not in array.coords:
        return None
    time = array.coords[_TIME]
    if time.dtype.kind == "m":
        seconds = time.values / np.timedelta64(1, "s")
    elif time.dtype.kind in "iuf":
        seconds = time.values * _SECONDS.get(time.attrs.get("units", "s"), np.nan)
    else:
        return None
    if not seconds.size or not np.isfinite(seconds).all():
        return None
    steps = np.diff(seconds)
    if not steps.size:
        return float(seconds[0]), np.nan
    if np.allclose(steps, steps.mean(), rtol=1e-4, atol=0):
        return float(seconds[0]), float(steps.mean())
    step = float(np.median(steps))
    msg = (
        "the volumes are not evenly spaced in time, which NIfTI cannot say; the file "
        f"has their median step of {step:g} s"
    )
    warn(msg)
    return float(seconds[0]), step
