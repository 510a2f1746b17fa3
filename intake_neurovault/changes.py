"""One thing that is no longer as it was when a query was frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

What = Literal[
    "re-uploaded", "moved", "lost", "deleted", "made private", "edited", "added"
]
"""What became of an image: it has another file, is in another collection, has no file
any more, is gone, is not for everybody any more, has another record; or it is new."""


@dataclass(frozen=True)
class Change:
    """One thing that is no longer as it was: a row of ``.changes()``.

    Examples
    --------
    >>> Change(3, 12, "deleted", "t.nii.gz, 1,024 bytes", "", "Keep it.").describe()
    'image 3 (collection 12) was deleted'
    """

    id: int | None
    """The image; None for the record of a collection."""
    collection_id: int
    """Its collection, as it was frozen."""
    what: What
    """What happened."""
    before: str
    """What was frozen."""
    now: str
    """What the server has; empty for nothing."""
    advice: str
    """What to do."""

    def describe(self) -> str:
        """Put the change into words.

        Returns
        -------
        str
            A clause without a full stop.
        """
        where = f"collection {self.collection_id}"
        what = where if self.id is None else f"image {self.id} ({where})"
        if self.what == "added":
            return f"{what} is new: {self.now}"
        if not self.now:
            return f"{what} was {self.what}"
        return f"{what} was {self.what}: {self.before} → {self.now}"
