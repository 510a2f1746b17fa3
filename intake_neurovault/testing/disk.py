"""Files on the server's disk, and the names that it gives them."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime

Content = bytes | Callable[[], bytes]
"""The bytes of a file, or a function that makes them."""


@dataclass(frozen=True)
class StoredFile:
    """One file on the server's disk."""

    content: Content | None
    """The bytes, or what makes them when first asked; None for a lost file."""
    modified: datetime
    """When it was written, for ``Last-Modified``."""

    def read(self) -> bytes:
        """Give the bytes; a lost file has none."""
        if self.content is None:
            return b""
        return self.content() if callable(self.content) else self.content


def free_path(path: str, taken: Container[str]) -> str:
    """Find a name for an upload as the server does: with a number where it is taken.

    Parameters
    ----------
    path : str
        The name that is wanted.
    taken : container of str
        The names that exist.

    Returns
    -------
    str
        A name that is not taken.

    Examples
    --------
    >>> free_path("/media/images/1/map.nii.gz", {"/media/images/1/map.nii.gz"})
    '/media/images/1/map_1.nii.gz'
    """
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.partition(".")
    number = 0
    while path in taken:
        number += 1
        path = f"{folder}/{stem}_{number}{dot}{suffix}"
    return path


def flipped_path(path: str) -> str:
    """Give the name that the file has after the next replacement.

    Parameters
    ----------
    path : str
        Its name now.

    Returns
    -------
    str
        The other of its two names.

    Examples
    --------
    >>> flipped_path("/media/images/1/map.nii.gz")
    '/media/images/1/map_1.nii.gz'
    >>> flipped_path("/media/images/1/map_1.nii.gz")
    '/media/images/1/map.nii.gz'
    """
    folder, _, name = path.rpartition("/")
    stem, dot, suffix = name.partition(".")
    other = stem.removesuffix("_1") if stem.endswith("_1") else f"{stem}_1"
    return f"{folder}/{other}{dot}{suffix}"
