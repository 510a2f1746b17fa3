"""What a query found, and what to say when it found nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from intake_neurovault.errors import Failure
from intake_neurovault.filters import Step
from intake_neurovault.records import Collection, Image


@dataclass(frozen=True)
class Found:
    """What a query found."""

    images: tuple[Image, ...]
    """The matching images, in the order of the result."""
    collections: Mapping[int, Collection]
    """The collections they are in, by id."""
    failures: tuple[Failure, ...]
    """What could not be looked at."""
    steps: tuple[Step, ...]
    """How many records each term removed, those on collections first."""
    fetched: float | None
    """When the oldest listing used was given by the server (Unix time)."""
    truncated: bool
    """Whether the cap ended the search before everything was looked at."""

    @property
    def listed(self) -> str | None:
        """When the oldest listing used was given, ISO 8601 in UTC."""
        if self.fetched is None:
            return None
        return datetime.fromtimestamp(self.fetched, UTC).isoformat(timespec="seconds")

    def why_empty(self) -> str:
        """Say why nothing was found, and what to do about it.

        Returns
        -------
        str
            One sentence that names the term to blame.
        """
        blame = max(self.steps, key=lambda step: step.alone, default=None)
        if blame is not None and blame.alone:
            return (
                f"No image matched: the term {blame.term!r} alone removed "
                f"{blame.alone} records; relax it, or look at .explain()."
            )
        if self.failures:
            return f"No image could be had: {self.failures[0].reason}"
        return (
            "No image matched, and there was nothing to filter: check image_ids and "
            "collection_ids, and with mode='offline' whether the store was filled."
        )
