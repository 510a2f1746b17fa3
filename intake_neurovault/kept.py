"""What the local store has of one map, and how that is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from intake_neurovault.hemispheres import Hemisphere
from intake_neurovault.sheets import Row


@dataclass(frozen=True)
class OnGrid:
    """A map that was brought to a grid and is kept there."""

    path: Path
    """Its file, an uncompressed NIfTI."""
    grid: str
    """The grid, in words."""
    interpolation: str
    """How values between voxels were made."""


@dataclass(frozen=True)
class KeptSurface:
    """What the local store has of one hemisphere."""

    path: Path
    """Where its file is, or would be."""
    size: int | None = None
    """Bytes on disk; None if it is not there."""
    sha256: str | None = None
    """SHA-256 of the verified bytes, hexadecimal; None if they are not verified."""


@dataclass(frozen=True)
class Kept:
    """What the local store has of a map."""

    path: Path | None
    """Where its file is, or would be; None if NeuroVault has none."""
    size: int | None = None
    """Bytes on disk; None if it is not there."""
    sha256: str | None = None
    """SHA-256 of the verified bytes, hexadecimal; None if they are not verified."""
    verified: float | None = None
    """When they were found to be whole (Unix time)."""
    current: bool | None = None
    """Whether the record is still of these bytes; None where nothing tells."""
    foreign: bool = False
    """Whether it is the file of another server that has the same number."""
    grids: tuple[OnGrid, ...] = ()
    """The grids on which the map is kept."""
    resampled: Path | None = None
    """nilearn's copy on its 3 mm grid, if it is there."""
    words: Path | None = None
    """Neurosynth's words for the map, if they are there."""
    surfaces: Mapping[Hemisphere, KeptSurface] = field(default_factory=dict)
    """What there is of each hemisphere that NeuroVault has a surface file of."""


def moment_of(seconds: float | None) -> str | None:
    """Write a time as ISO 8601, in UTC and without parts of a second.

    Parameters
    ----------
    seconds : float or None
        Unix time.

    Returns
    -------
    str or None
        None for None.

    Examples
    --------
    >>> moment_of(0.0)
    '1970-01-01T00:00:00+00:00'
    """
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def kept_rows(kept: Kept) -> Iterator[Row]:
    """Say what the local store has of a map.

    Parameters
    ----------
    kept : Kept
        What it has.

    Yields
    ------
    Row
        Each fact.

    Examples
    --------
    >>> [row.value for row in kept_rows(Kept(None))]
    ['NeuroVault has none', "none of Neurosynth's"]
    """
    if kept.path is None:
        yield Row("file", "NeuroVault has none")
    elif kept.size is None:
        yield Row("file", "not downloaded yet")
        yield Row("its place", str(kept.path), whole=True)
    else:
        yield Row("file", str(kept.path), whole=True)
        yield Row("size", f"{kept.size:,} bytes")
        yield Row("verified", _verified(kept))
        if kept.current is False and not kept.foreign:
            text = 'changed on the server since; mode="update" fetches it again'
            yield Row("state", text)
    for hemisphere, surface in kept.surfaces.items():
        there = surface.size is not None
        value = str(surface.path) if there else "not downloaded yet"
        yield Row(f"{hemisphere} surface", value, "GIFTI", whole=there)
    for each in kept.grids:
        yield Row("on a grid", f"{each.grid}, {each.interpolation}")
        yield Row("", str(each.path), whole=True)
    if kept.resampled:
        note = "nilearn's copy at 3 mm"
        yield Row("resampled", str(kept.resampled), note, whole=True)
    words = str(kept.words or "none of Neurosynth's")
    yield Row("words", words, "of Neurosynth", whole=True)


def _verified(kept: Kept) -> str:
    if kept.foreign:
        return "it is another server's image of the same number"
    if kept.sha256 is None:
        return "not yet; it is read to its end when it is used"
    when = moment_of(kept.verified)
    day = f"{when[:10]} {when[11:16]} UTC, " if when else ""
    return f"{day}SHA-256 {kept.sha256}"
