"""What is measured, as plain values; only the standard library is imported here.

The most memory that a process has had includes the size of its parent when it was
started, so that whoever starts the others has to stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Data:
    """What has to be there before anything is measured."""

    kind: str
    """``server``; ``maps``, a store with files as served and on the 3 mm grid;
    ``originals``, one with files as served; ``records``, one with metadata."""
    size: int
    """How many images."""
    spaces: tuple[str, ...] = ()
    """The grids of their maps, in turn."""
    full: bool = False
    """Whether the voxels outside the brain hold noise as well."""

    @property
    def folder(self) -> str:
        """Where it is kept, below the folder of all data."""
        parts = [self.kind, str(self.size), *dict.fromkeys(self.spaces)]
        return "-".join([*parts, "full"] if self.full else parts)


@dataclass(frozen=True)
class Side:
    """One way to do the work: a function of this package, and its arguments."""

    function: str
    """Such as ``ours.fetch``: called with a `Place` and the arguments, gives `Work`."""
    arguments: tuple[tuple[str, Any], ...] = ()
    """By name."""
    label: str = ""
    """What the table says of it, if that is not plain from the case."""

    @classmethod
    def of(cls, function: str, label: str = "", **arguments: Any) -> Side:
        """Write the arguments as one does."""
        return cls(function, tuple(sorted(arguments.items())), label)


@dataclass(frozen=True)
class Check:
    """When two results are the same."""

    function: str
    """Such as ``checks.close``; called with both, and says what differs."""
    tolerance: float | None = None
    """By what part of the largest value two numbers may differ, if any may."""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    """What is done."""
    ours: Side
    """With this package."""
    peer: Side
    """With nilearn, as its documentation says."""
    check: Check
    """How the two results are compared."""
    data: Data
    """On what."""
    limit: Side | None = None
    """What takes no less on this machine, in seconds."""
    faster: float | None = None
    """How many times faster it is asked to be."""
    smaller: float | None = None
    """How many times less memory it is asked to take."""
    warm: bool = False
    """Whether the first call in a process does not count."""
    inside: bool = True
    """Whether all is done inside one process, whose memory then tells something."""

    @property
    def asked(self) -> bool:
        """Whether it has an aim; the others are measured when they are named."""
        return self.faster is not None or self.smaller is not None


@dataclass(frozen=True)
class Place:
    """Where one measurement happens."""

    data: Path
    """The folder of the case's data."""
    scratch: Path
    """An empty folder."""
    urls: Mapping[float, str] = field(default_factory=dict)
    """The addresses of the server, by the seconds that every answer takes longer."""


def same(result: Any) -> Any:
    """Give back what is given."""
    return result


@dataclass(frozen=True)
class Work:
    """What is timed, and what is compared afterwards."""

    run: Callable[[], Any]
    """Does the work."""
    values: Callable[[Any], Any] = same
    """Takes from the result what both sides must agree on; not timed."""
