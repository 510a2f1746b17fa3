"""Every file of a store read to its end, and what is damaged set aside."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intake_neurovault import sidecars
from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    NeuroVaultError,
)
from intake_neurovault.findings import Finding, Problem
from intake_neurovault.frozen_files import is_named_rightly
from intake_neurovault.gifti import check_gifti
from intake_neurovault.gridded_files import is_whole
from intake_neurovault.hemispheres import hemisphere_of, surface_path
from intake_neurovault.inventory import Inventory, Item, Kind, scan
from intake_neurovault.ledger import FORMAT, parse_listing
from intake_neurovault.neurosynth import check_words
from intake_neurovault.pool import Pool
from intake_neurovault.receipts import Entry, stamp_of
from intake_neurovault.records import ImageFile
from intake_neurovault.store import Store
from intake_neurovault.surfaces import SurfaceFile
from intake_neurovault.wholeness import FileFacts, check_file

MAPS: tuple[Kind, ...] = ("image", "surface", "resampled", "gridded", "frozen")
TEXTS: tuple[Kind, ...] = (
    "record",
    "about",
    "words",
    "receipt",
    "surface receipt",
    "copy",
    "listing",
    "private",
)
"""The kinds of files that are checked: maps, and what is JSON."""

_State = tuple[int, int, int]


@dataclass(frozen=True)
class Examiner(Store):
    """A store whose files are read to their end, whatever is known of them.

    With `read_only` nothing is changed: neither moved nor noted.

    Examples
    --------
    >>> examiner = Examiner(Path("/no/such/store"))
    >>> examiner.examine(Item("image", "collection_12/image_3.nii.gz", 12, 3)) is None
    True
    """

    def examine(self, item: Item) -> Finding | None:
        """Read one file to its end.

        A damaged one is moved to the quarantine, or removed if it can be made again,
        and a whole image gets its receipt, unless the store is `read_only`.

        Parameters
        ----------
        item : Item
            The file.

        Returns
        -------
        Finding or None
            What is wrong; None if nothing is, or if the file has gone meanwhile.
        """
        place = self.root / item.path
        while (state := _state(place)) is not None:
            try:
                if item.kind == "gridded":
                    return self._gridded(item)
                if item.kind == "frozen":
                    return self._frozen(item)
                if item.kind in MAPS:
                    return self._map(item)
                self._text(item)
                return None
            except (FileNotFoundError, IsADirectoryError):
                return None
            except (OSError, ValueError, KeyError, TypeError) as error:
                # NOTE: a file that another program is replacing is looked at again.
                if _state(place) == state:
                    return self._wrong(item, error)
        return None

    def set_aside(self, item: Item) -> str | None:
        """Move a file to the quarantine.

        Parameters
        ----------
        item : Item
            The file.

        Returns
        -------
        str or None
            Where it is now, relative to the store; None if it cannot be moved, or
            the store is `read_only`.
        """
        if self.read_only:
            return None
        aside = self._quarantine(self.root / item.path)
        return aside.relative_to(self.root).as_posix() if aside else None

    def _gridded(self, item: Item) -> Finding | None:
        place = self.root / item.path
        if is_whole(place):
            return None
        if self.read_only:
            return _finding(item, "spoiled", f"{_SPOILED}.")
        place.unlink()
        return _finding(item, "spoiled", f"{_SPOILED}, and was removed.")

    def _frozen(self, item: Item) -> Finding | None:
        if is_named_rightly(self.root / item.path):
            return None
        return _finding(item, "damaged", _THAWED, self.set_aside(item))

    def _map(self, item: Item) -> Finding | None:
        place = self.root / item.path
        state = _state(place)
        surface = item.kind == "surface"
        facts = (check_gifti if surface else check_file)(place, label="the file")
        if item.kind not in ("image", "surface"):
            return None
        file = _file_of(item)
        before = self._entry(file)
        if state is None or _state(place) != state:
            # NOTE: the receipt may be that of the file which has come meanwhile.
            return self.examine(item)
        if before is not None and self._is_other(file, before, facts):
            # NOTE: whoever adds an image writes the receipt a moment before it.
            time.sleep(_MOMENT)
            if _state(place) != state or self._entry(file) != before:
                return self.examine(item)
            return _finding(item, "changed", _CHANGED)
        if not self.read_only:
            now = Entry(facts.size, state[2], facts.sha256)
            if not (facts.gzipped or surface):
                now = self._verify(file, place)
            now = self._identified(file, now, before)
            if now != before:
                self.remember(file, now)
        return None

    def _is_other(self, file: ImageFile, before: Entry, facts: FileFacts) -> bool:
        """Tell whether bytes changed although nobody says that they were replaced."""
        if facts.sha256 == before.sha256:
            return False
        recorded = self._recorded(file)
        # NOTE: nilearn writes a new record when it replaces an image.
        return not (
            recorded and before.file and not recorded.same_bytes_as(before.file)
        )

    def _text(self, item: Item) -> None:
        place = self.root / item.path
        number, image_id = item.collection_id or 0, item.image_id or 0
        if item.kind == "record":
            sidecars.read_image(self.root, number, image_id)
        elif item.kind == "about":
            sidecars.read_collection(self.root, number)
        elif item.kind == "words":
            check_words(sidecars.read_object(place), f"image {image_id}")
        else:
            content = sidecars.read_object(place)
            if item.kind in _NOTES and content.get("format") == FORMAT:
                _NOTES[item.kind](content, place)

    def _wrong(self, item: Item, error: Exception) -> Finding:
        problem, reason = _explain(error)
        moved = self.set_aside(item) if problem == "damaged" else None
        return _finding(item, problem, reason, moved)


_MOMENT = 0.1
_SPOILED = "The map on a grid is damaged; it can be made again"
_THAWED = (
    "The bytes of a frozen query are no longer what its name says; using that query "
    "downloads them again, as long as the server has them."
)
_CHANGED = "The file is whole, but its bytes are not those that were downloaded."


def examine_all(
    examiner: Examiner, items: Sequence[Item], pool: Pool
) -> tuple[Finding, ...]:
    """Read many files to their end, several at a time.

    Parameters
    ----------
    examiner : Examiner
        The store.
    items : sequence of Item
        The files; others than maps and JSON are passed over.
    pool : Pool
        How many at a time, and whether to show a progress bar.

    Returns
    -------
    tuple of Finding
        What is wrong, in the order of the files.

    Examples
    --------
    >>> examine_all(Examiner(Path("/no/such/store")), [], Pool())
    ()
    """
    # NOTE: texts first, so that no damaged receipt is asked about an image.
    texts = [item for item in items if item.kind in TEXTS]
    maps = [item for item in items if item.kind in MAPS]
    findings = []
    total = sum(item.size for item in (*texts, *maps))
    with pool.bar(total, "B") as bar:
        for some in (texts, maps):
            with pool.map(examiner.examine, some) as outcomes:
                for item, outcome in outcomes:
                    bar.update(item.size)
                    if isinstance(outcome, NeuroVaultError):
                        raise outcome
                    findings += [outcome] if outcome else []
    return tuple(findings)


def incomplete(
    root: Path, collection_ids: frozenset[int] | None = None
) -> tuple[Finding, ...]:
    """Find images without their record, and what is left of images that are gone.

    Parameters
    ----------
    root : pathlib.Path
        The store.
    collection_ids : frozenset of int, optional
        Only these collections.

    Returns
    -------
    tuple of Finding
        What is lacking. Of a collection whose folder is gone nothing is: somebody
        removed it.

    Examples
    --------
    >>> incomplete(Path("/no/such/store"))
    ()
    """
    found = _lacking(scan(root).only(collection_ids))
    if not found:
        return ()
    # NOTE: what another process adds is there in part for a moment.
    time.sleep(_MOMENT)
    still = set(_lacking(scan(root).only(collection_ids)))
    return tuple(finding for finding in found if finding in still)


def _lacking(inventory: Inventory) -> list[Finding]:
    groups: dict[tuple[int, int], dict[Kind, Item]] = defaultdict(dict)
    for item in inventory.of("image", "record", "receipt", "quarantined"):
        if f"collection_{item.collection_id}" in inventory.folders and item.image_id:
            groups[item.collection_id or 0, item.image_id][item.kind] = item
    found = [each for key in sorted(groups) for each in _lacking_of(groups[key])]
    return [*found, *_lost_surfaces(inventory), *_undescribed(inventory)]


def _lost_surfaces(inventory: Inventory) -> Iterable[Finding]:
    there = {item.path for item in inventory.of("surface")}
    for item in inventory.of("surface receipt"):
        ids = item.collection_id or 0, item.image_id or 0
        path = surface_path(*ids, hemisphere_of(item.path))
        if path not in there and f"collection_{ids[0]}" in inventory.folders:
            why = "The surface file was downloaded once, and is gone."
            yield _finding(Item("surface", path, *ids), "missing", why)


def _lacking_of(group: Mapping[Kind, Item]) -> Iterable[Finding]:
    if "image" in group:
        if "record" not in group:
            why = "The image has no record beside it, so nilearn does not see it."
            yield _finding(group["image"], "no record", why)
    elif "quarantined" in group:
        why = "A damaged copy was set aside, and no other has come in its place."
        yield _finding(_image_of(group["quarantined"]), "missing", why)
    elif "receipt" in group:
        why = "The image was downloaded once, and is gone."
        yield _finding(_image_of(group["receipt"]), "missing", why)
    else:
        why = "There is a record of the image, but no image."
        yield _finding(_image_of(group["record"]), "no image", why)


def _undescribed(inventory: Inventory) -> Iterable[Finding]:
    described = {item.collection_id for item in inventory.of("about")}
    images = {item.collection_id for item in inventory.of("image")}
    for number in sorted(each for each in images - described if each is not None):
        path = f"collection_{number}/collection_metadata.json"
        why = "The collection has no record, so nilearn does not see its images."
        yield _finding(Item("about", path, number), "no record", why)


def _image_of(item: Item) -> Item:
    path = f"collection_{item.collection_id}/image_{item.image_id}.nii.gz"
    return Item("image", path, item.collection_id, item.image_id)


def _explain(error: Exception) -> tuple[Problem, str]:
    cause = error.__cause__
    if isinstance(error, OSError) and not isinstance(error, NeuroVaultError):
        cause = error
    if isinstance(cause, OSError) and not isinstance(cause, CorruptFileError):
        return "unreadable", f"The file cannot be read ({cause.strerror or cause})."
    text = str(error)
    if isinstance(error, AnswerError):
        return "damaged", "The file holds no words with weights."
    if isinstance(error, CorruptFileError) and text.startswith("the file: "):
        said = text.removeprefix("the file: ")
        return "damaged", f"{said[:1].upper()}{said[1:]}."
    if cause is not None:
        return "damaged", f"The file is not readable JSON ({cause})."
    return "damaged", "The file does not hold what its name says."


def _finding(
    item: Item, problem: Problem, reason: str, moved_to: str | None = None
) -> Finding:
    ids = item.collection_id, item.image_id
    return Finding(problem, item.kind, item.path, reason, *ids, moved_to)


def _file_of(item: Item) -> ImageFile:
    what = item.image_id or 0, item.collection_id or 0, "", None, None
    if item.kind == "surface":
        return SurfaceFile(*what, hemisphere=hemisphere_of(item.path))
    return ImageFile(*what)


def _state(place: Path) -> _State | None:
    try:
        found = place.stat()
    except OSError:
        return None
    return stamp_of(found)


def _check_receipt(content: Mapping[str, Any], _place: Path) -> None:
    numbers = content["size"], content["mtime_ns"]
    if not all(type(number) is int for number in numbers):
        raise TypeError(numbers)
    bytes.fromhex(content["sha256"])
    if not isinstance(content["file"], dict | None):
        raise TypeError(content["file"])


def _check_listing(content: Mapping[str, Any], place: Path) -> None:
    parse_listing(content, place.parent.name)


def _check_private(content: Mapping[str, Any], _place: Path) -> None:
    if type(content["collection_id"]) is not int:
        raise TypeError(content["collection_id"])


_NOTES: Mapping[Kind, Callable[[Mapping[str, Any], Path], None]] = {
    "receipt": _check_receipt,
    "surface receipt": _check_receipt,
    "listing": _check_listing,
    "private": _check_private,
}
