"""What ``neurovault cache`` says to people, in lines of at most 80 characters.

Only paths, which must stay in one piece to be copied, may be longer.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from intake_neurovault.clearing import Cleared, Plan
    from intake_neurovault.errors import Failure
    from intake_neurovault.findings import Finding
    from intake_neurovault.holdings import Holdings, ServerLists
    from intake_neurovault.reports import Checkup, Repair

_WIDTH = 80
_AGES = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))


def no_store(root: Path) -> Iterator[str]:
    """Say that there is no store.

    Parameters
    ----------
    root : pathlib.Path
        Where it would be.

    Yields
    ------
    str
        Each line.
    """
    yield "There is no store yet at"
    yield f"  {root}"
    yield "It is made when the first map is fetched."


def filled(text: str, indent: str = "") -> list[str]:
    """Break a text into lines, between words only.

    Parameters
    ----------
    text : str
        The text.
    indent : str
        What each line begins with.

    Returns
    -------
    list of str
        The lines.

    Examples
    --------
    >>> filled("Every file is whole.", "  ")
    ['  Every file is whole.']
    """
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def size(count: float) -> str:
    """Write a number of bytes.

    Parameters
    ----------
    count : float
        How many bytes.

    Returns
    -------
    str
        With one of the units B, kB, MB and GB, of 1000 each.

    Examples
    --------
    >>> size(999), size(1000), size(999_960), size(5e12)
    ('999 B', '1.0 kB', '1.0 MB', '5000.0 GB')
    """
    if count < 1000:
        return f"{count:.0f} B"
    units = ("kB", "MB", "GB")
    power = next((p for p in (1, 2) if round(count / 1000**p, 1) < 1000), 3)
    return f"{count / 1000**power:.1f} {units[power - 1]}"


def holdings_lines(holdings: Holdings) -> Iterator[str]:
    """Tell what is in a store.

    Parameters
    ----------
    holdings : Holdings
        What is in it.

    Yields
    ------
    str
        Each line.
    """
    yield f"{holdings.root}"
    yield ""
    yield f"  {'':<18}{'files':>9}{'size':>11}"
    where = f"in {_count(len(holdings.collections), 'collection')}"
    images, later = holdings.images, holdings.unverified
    yield _row("images", images.files, images.bytes, where)
    yield _row("  verified", holdings.verified)
    remark = "read to their end when used next" if later else ""
    yield _row("  not yet verified", later, None, remark)
    for label, amount, remark in (
        ("records", holdings.records, ""),
        ("words", holdings.words, "Neurosynth's"),
        ("surfaces", holdings.surfaces, "left and right hemispheres"),
        ("resampled", holdings.resampled, "nilearn's copies"),
        ("gridded", holdings.gridded, "maps on a grid, made again when needed"),
        ("frozen", holdings.frozen, "files of frozen queries, beside the images"),
        ("computed", holdings.derived, "made again when needed"),
        ("receipts", holdings.receipts, "say which files are verified"),
        ("quarantine", holdings.quarantined, "damaged files that were set aside"),
    ):
        if amount.files:
            yield _row(label, amount.files, amount.bytes, remark)
    for each in holdings.listings:
        yield _row("listings", each.files, each.bytes, f"of {each.server},")
        yield f"  {'':<38}  {_given(each)}"
    yield _row("together", holdings.files, holdings.bytes)
    yield from _strangers(holdings)


def _strangers(holdings: Holdings) -> Iterator[str]:
    if holdings.temporaries.files or holdings.others.files:
        yield ""
    for label, amount, remark in (
        ("temporaries", holdings.temporaries, "of interrupted or running work"),
        ("other files", holdings.others, "not NeuroVault's, never touched"),
    ):
        if amount.files:
            yield _row(label, amount.files, amount.bytes, remark)
    for folder in holdings.closed:
        yield f"The folder {folder or '.'} cannot be looked into."


def collection_lines(holdings: Holdings) -> Iterator[str]:
    """Tell what is in a store of each collection.

    Parameters
    ----------
    holdings : Holdings
        What is in it.

    Yields
    ------
    str
        One line for each collection, below a head.
    """
    head = f"{'collection':>10}{'images':>9}{'verified':>10}{'size':>11}  "
    yield f"{head}name"
    room = _WIDTH - len(head)
    for each in holdings.collections:
        numbers = f"{each.collection_id:>10}{each.images:>9,}{each.verified:>10,}"
        name = " ".join((each.name or "(its record is missing)").split())
        name = name if len(name) <= room else f"{name[: room - 1]}…"
        yield f"{numbers}{size(each.bytes):>11}  {name}"


def checkup_lines(found: Checkup) -> Iterator[str]:
    """Tell what a verification found.

    Parameters
    ----------
    found : Checkup
        What it found.

    Yields
    ------
    str
        Each line.
    """
    yield f"{found.root}"
    yield ""
    if not found.files:
        yield "There is nothing to verify."
        return
    what = f"{_count(found.images, 'image')} among them, {size(found.bytes)}"
    yield f"Read {_count(found.files, 'file')} to the end ({what})."
    for finding in found.findings:
        yield from _finding_lines(finding)
    yield from [""] * bool(found.findings)
    if found.swept:
        yield f"Removed {_count(found.swept, 'file')} left by interrupted work."
    if found.unchanged and found.unchanged != "dry run":
        yield from filled(
            f"The store cannot be written ({found.unchanged}): nothing was moved, and "
            "what is whole could not be noted."
        )
    serious = sum(finding.serious for finding in found.findings)
    if found.whole:
        yield "Every file is whole."
    else:
        are = "is not as it" if serious == 1 else "are not as they"
        yield f"{_count(serious, 'file')} {are} should be."


def repair_lines(done: Repair) -> Iterator[str]:
    """Tell what came of a repair.

    Parameters
    ----------
    done : Repair
        What came of it.

    Yields
    ------
    str
        Each line.
    """
    yield from checkup_lines(done.before)
    for failure in done.mended.failures:
        yield from _failure_lines(failure)
    yield ""
    if done.mended.images:
        yield f"Fetched again: {_count(len(done.mended.images), 'image')}."
    if done.whole:
        yield "The store is whole now."
    else:
        count = max(len(done.mended.failures), len(done.after))
        yield from filled(
            f"{_count(count, 'thing')} could not be had; run it again later, with "
            "--token env:NAME for what is in a private collection."
        )


def plan_lines(plan: Plan) -> Iterator[str]:
    """Tell what would be removed.

    Parameters
    ----------
    plan : Plan
        What would be.

    Yields
    ------
    str
        Each line.
    """
    for left in plan.left:
        yield from filled(f"Stays: {left.path}. {left.reason}")
    if not plan.items:
        yield "There is nothing to remove."
        return
    yield f"To be removed from {plan.root}"
    yield ""
    yield f"  {'':<18}{'files':>9}{'size':>11}"
    for label, files, total in plan.summary():
        yield _row(label, files, total)
    yield _row("together", len(plan.items), plan.bytes)
    yield ""


def cleared_lines(plan: Plan, done: Cleared) -> Iterator[str]:
    """Tell what was removed.

    Parameters
    ----------
    plan : Plan
        What was shown before.
    done : Cleared
        What came of it.

    Yields
    ------
    str
        Each line.
    """
    yield f"Removed {_count(done.removed, 'file')} ({size(done.freed)})."
    for left in done.left[len(plan.left) :]:
        yield from filled(f"Stays: {left.path}. {left.reason}")


def _row(label: str, files: int, total: float | None = None, remark: str = "") -> str:
    shown = "" if total is None else size(total)
    return f"  {label:<18}{files:>9,}{shown:>11}  {remark}".rstrip()


def _count(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"


def _given(listings: ServerLists) -> str:
    newest, oldest = _age(listings.newest), _age(listings.oldest)
    span = newest if newest == oldest else f"{newest} to {oldest}"
    return f"given {span} ago"


def _age(then: float) -> str:
    seconds = time.time() - then
    for unit, name in _AGES:
        if seconds >= unit:
            return _count(int(seconds // unit), name)
    return "less than a minute"


def _finding_lines(finding: Finding) -> Iterable[str]:
    yield ""
    yield f"{finding.problem}: {finding.path}"
    moved = " It was moved to the quarantine." if finding.moved_to else ""
    yield from filled(f"{finding.reason}{moved}", "  ")


def _failure_lines(failure: Failure) -> Iterable[str]:
    yield ""
    yield f"not had: {'a collection' if failure.id is None else f'image {failure.id}'}"
    yield from filled(failure.reason, "  ")
