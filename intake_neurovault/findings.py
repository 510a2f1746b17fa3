"""What may be wrong with a file of the store, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from intake_neurovault.inventory import Kind

Problem = Literal[
    "damaged", "changed", "unreadable", "missing", "no image", "no record", "spoiled"
]
"""What is wrong.

``damaged``: cut off, or not what its name says. ``changed``: whole, but other bytes
than those that were downloaded. ``unreadable``: the system does not let us read it.
``missing``: an image that was there once. ``no image``: only the record of an image
is there. ``no record``: only the image is there. ``spoiled``: damaged, but made again
when it is needed.
"""

_HARMLESS: frozenset[Problem] = frozenset({"no image", "no record", "spoiled"})


@dataclass(frozen=True)
class Finding:
    """One file of the store with which something is wrong.

    Examples
    --------
    >>> Finding("damaged", "image", "collection_12/image_3.nii.gz", "Empty.").serious
    True
    """

    problem: Problem
    """What is wrong, in a word or two."""
    kind: Kind
    """What the file is."""
    path: str
    """The file, relative to the store."""
    reason: str
    """The same in a sentence."""
    collection_id: int | None = None
    """The collection that it belongs to, if to one."""
    image_id: int | None = None
    """The image that it belongs to, if to one."""
    moved_to: str | None = None
    """Where it was moved, relative to the store; None if it stayed."""

    @property
    def serious(self) -> bool:
        """Whether the store is not whole because of it.

        A record without its image, an image without its record, or a map on a grid
        that is damaged, is not: what is lacking comes by itself with the next use.
        """
        return self.problem not in _HARMLESS

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        return {name: getattr(self, name) for name in Finding.__annotations__}
