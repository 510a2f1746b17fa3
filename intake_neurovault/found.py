"""What a query found, and what to say when it found nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

from intake_neurovault.errors import Failure
from intake_neurovault.filters import Step
from intake_neurovault.records import Collection, Image


@dataclass
class Aftermath:
    """What failed after a search: a file, a geometry, the words of an image."""

    failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)
    """The failures of each kind of work."""

    def note(self, work: str, images: Iterable[Image], new: Iterable[Failure]) -> None:
        """Replace what is known of some images, and leave the others.

        Parameters
        ----------
        work : str
            The kind of work.
        images : iterable of Image
            What it was done on.
        new : iterable of Failure
            What failed this time.
        """
        asked = {image.id for image in images}
        old = [each for each in self.failures.get(work, ()) if each.id not in asked]
        self.failures[work] = (*old, *new)

    def rows(self) -> list[Failure]:
        """List what failed.

        Returns
        -------
        list of Failure
            All kinds of work, one after the other.
        """
        return list(chain.from_iterable(self.failures.values()))


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
