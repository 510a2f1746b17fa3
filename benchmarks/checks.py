"""When two results are the same; each function says what differs, or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def equal(ours: Any, peers: Any) -> str | None:
    """Compare lists, mappings and plain values, to the letter."""
    if ours == peers and ours:
        return None
    sizes = [len(each) if isinstance(each, Sequence | Mapping) else each for each in
             (ours, peers)]  # fmt: skip
    return f"{sizes[0]} and {sizes[1]} entries, not all alike" if ours else "nothing"


def close(ours: Any, peers: Any, tolerance: float) -> str | None:
    """Compare arrays: no number differs by more than a part of the largest one."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (ours, peers))
    if a.shape != b.shape or not a.size:
        return f"shapes {a.shape} and {b.shape}"
    furthest = float(np.abs(a - b).max())
    largest = float(np.abs(b).max())
    # NOTE: written so that NaN on either side is a difference.
    if furthest <= tolerance * largest and largest > 0:
        return None
    return f"they differ by {furthest:.3g}, the largest value is {largest:.3g}"


def clipped(ours: Any, peers: Any, tolerance: float) -> str | None:
    """Compare matrices of a row for each map, where nilearn had all in one list.

    It then cuts what a spline overshoots at the least and the largest value of all
    maps; map by map, and here, at those of the map itself.
    """
    a = np.asarray(ours)
    if a.ndim != 2 or a.shape != np.shape(peers):
        return f"shapes {a.shape} and {np.shape(peers)}"
    least, largest = (at(a, axis=1, keepdims=True) for at in (np.min, np.max))
    return close(a, np.clip(peers, least, largest), tolerance)


def maps(
    ours: Mapping[int, Any], peers: Mapping[int, Any], tolerance: float
) -> str | None:
    """Compare maps by id, where both have voxels.

    nilearn's files on the 3 mm grid begin at the same voxel, but end where the map's
    own field of view ends, which this package fills with zero.
    """
    if list(ours) != list(peers):
        return f"images {list(ours)[:5]} … and {list(peers)[:5]} …"
    for number, values in peers.items():
        shared = tuple(map(min, ours[number].shape, values.shape))
        both = [each[: shared[0], : shared[1], : shared[2]] for each in
                (ours[number], values)]  # fmt: skip
        if found := close(*both, tolerance):
            return f"image {number}: {found}"
    return None
