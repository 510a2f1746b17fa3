"""The two halves of a surface map, and the names of their files in the store.

All paths are relative to the store's root and written with ``/``.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from intake_neurovault.layout import OURS, collection_dir

Hemisphere = Literal["left", "right"]
"""One half of the cortex, as nilearn names it."""

HEMISPHERES: tuple[Hemisphere, ...] = get_args(Hemisphere)
"""Both, in nilearn's order."""

SURFACE = r"_surface_(?:left|right)"
"""What stands behind the number of an image in such a name, as a pattern."""

_SURFACE = re.compile(r"_surface_(?P<hemisphere>left|right)(?:\.func\.gii|\.json)")


def surface_path(collection_id: int, image_id: int, hemisphere: Hemisphere) -> str:
    """Give the file of one hemisphere of an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.
    hemisphere : {"left", "right"}
        Which one.

    Returns
    -------
    str
        A relative path. nilearn's fetcher passes over files of that name.

    Examples
    --------
    >>> surface_path(12, 3, "left")
    'collection_12/image_3_surface_left.func.gii'
    """
    folder = collection_dir(collection_id)
    return f"{folder}/image_{image_id:d}_surface_{hemisphere}.func.gii"


def surface_receipt_path(
    collection_id: int, image_id: int, hemisphere: Hemisphere
) -> str:
    """Give the file that says what was downloaded for one hemisphere of an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.
    hemisphere : {"left", "right"}
        Which one.

    Returns
    -------
    str
        A relative path in our folder.

    Examples
    --------
    >>> surface_receipt_path(12, 3, "left")
    '.intake_neurovault/receipts/collection_12/image_3_surface_left.json'
    """
    folder = f"{OURS}/receipts/{collection_dir(collection_id)}"
    return f"{folder}/image_{image_id:d}_surface_{hemisphere}.json"


def hemisphere_of(path: str) -> Hemisphere:
    """Tell which hemisphere a file is about.

    Parameters
    ----------
    path : str
        As `surface_path` or `surface_receipt_path` gives it.

    Returns
    -------
    {"left", "right"}
        The hemisphere.

    Raises
    ------
    ValueError
        If it is another path.

    Examples
    --------
    >>> hemisphere_of("collection_12/image_3_surface_right.func.gii")
    'right'
    """
    found = _SURFACE.search(path)
    if found is None:
        msg = f"{path!r} is not the path of a surface file."
        raise ValueError(msg)
    return "left" if found["hemisphere"] == "left" else "right"
