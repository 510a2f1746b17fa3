"""Which files lie in a store: each is named, none is opened.

What has a name that `layout` cannot have given belongs to somebody else, wherever it
lies, and is only counted.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from intake_neurovault.atomic import is_temporary
from intake_neurovault.hemispheres import SURFACE
from intake_neurovault.layout import COLLECTION_METADATA, OURS

Kind = Literal[
    "image",
    "record",
    "about",
    "resampled",
    "words",
    "surface",
    "receipt",
    "surface receipt",
    "copy",
    "listing",
    "private",
    "quarantined",
    "gridded",
    "frozen",
    "derived",
    "temporary",
    "other",
]
"""What a file is: an image, its record, the record of its collection (``about``),
nilearn's resampled copy, Neurosynth's words, the file of a hemisphere; a receipt, that
of a hemisphere, a copy of a record, a listing, the number of a private collection, a
quarantined file, a map on a grid, the file of a frozen query, something else computed;
a temporary; or not ours and not NeuroVault's."""

_ID = "[1-9][0-9]{0,18}"
_IN = f"collection_(?P<collection>{_ID})"
_IMAGE = f"image_(?P<image>{_ID})"
_SHARED: Mapping[Kind, re.Pattern[str]] = {
    "image": re.compile(rf"{_IN}/{_IMAGE}\.nii\.gz"),
    "record": re.compile(rf"{_IN}/{_IMAGE}_metadata\.json"),
    "about": re.compile(rf"{_IN}/{re.escape(COLLECTION_METADATA)}"),
    "resampled": re.compile(rf"{_IN}/{_IMAGE}_resampled\.nii\.gz"),
    "words": re.compile(rf"{_IN}/neurosynth_words_for_{_IMAGE}\.json"),
    "surface": re.compile(rf"{_IN}/{_IMAGE}{SURFACE}\.func\.gii"),
}
# NOTE: what else is derived can be computed again from the images, so that its names
# need not be known one by one.
_OWN: Mapping[Kind, re.Pattern[str]] = {
    "receipt": re.compile(rf"receipts/{_IN}/{_IMAGE}\.json"),
    "surface receipt": re.compile(rf"receipts/{_IN}/{_IMAGE}{SURFACE}\.json"),
    "copy": re.compile(rf"records/{_IN}/(?:about|{_IMAGE}_metadata)\.json"),
    "listing": re.compile(rf"listings/[^/]+/(?:collections|{_IN})\.json"),
    "private": re.compile(r"listings/[^/]+/private_[0-9a-f]{64}\.json"),
    "quarantined": re.compile(
        rf"quarantine/(?:{_IN}|[^/]+)/[0-9a-f]{{32}}-(?:{_IMAGE}\.nii\.gz|.+)"
    ),
    "gridded": re.compile(rf"gridded/[^/]+_[0-9a-f]{{16}}/{_IN}/{_IMAGE}\.nii"),
    "frozen": re.compile(rf"frozen/{_IN}/{_IMAGE}_[0-9a-f]{{64}}\.nii\.gz"),
    "derived": re.compile(
        rf"index[^/]*|gridded/[^/]+/{_IN}/{_IMAGE}(?:_resampled)?\.(?:nii|json)"
        r"|gridded/(?:.+/)?[^/]+\.(?:nii|json)"
    ),
}
_FOLDERS = re.compile(
    rf"{_IN}|{re.escape(OURS)}"
    r"(?:/(?:(?:receipts|records|listings|quarantine|frozen)(?:/[^/]+)?|gridded(?:/.+)?))?"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a store.

    Examples
    --------
    >>> Item("image", "collection_12/image_3.nii.gz", 12, 3, size=1024).folder
    'collection_12'
    """

    kind: Kind
    """What it is."""
    path: str
    """Where it is, relative to the store."""
    collection_id: int | None = None
    """The collection that it belongs to, if to one."""
    image_id: int | None = None
    """The image that it belongs to, if to one."""
    size: int = 0
    """Bytes."""
    mtime_ns: int = 0
    """Time of last change, in nanoseconds."""
    linked: bool = False
    """Whether a folder above it is a symbolic link out of the store."""

    @property
    def folder(self) -> str:
        """The folder that it is in, relative to the store; empty for the store."""
        return self.path.rpartition("/")[0]

    @property
    def ours(self) -> bool:
        """Whether it is one of ours or of NeuroVault's, by name."""
        return self.kind not in ("temporary", "other")


@dataclass(frozen=True)
class Inventory:
    """The files of one store at one time.

    Examples
    --------
    >>> Inventory(Path("/no/such/store")).exists
    False
    """

    root: Path
    """The store."""
    exists: bool = False
    """Whether there is such a folder."""
    items: tuple[Item, ...] = ()
    """The files, sorted by path."""
    folders: tuple[str, ...] = ()
    """The folders that may hold ours or NeuroVault's, relative to the store."""
    links: frozenset[str] = field(default=frozenset())
    """Which of them are symbolic links, or lie behind one."""
    closed: tuple[tuple[str, str], ...] = ()
    """Folders that cannot be looked into, and why."""

    def of(self, *kinds: Kind) -> Iterator[Item]:
        """Give the files of some kinds.

        Parameters
        ----------
        *kinds : str
            The kinds.

        Yields
        ------
        Item
            Each file.
        """
        return (item for item in self.items if item.kind in kinds)

    def only(self, collection_ids: Container[int] | None) -> Inventory:
        """Leave out what belongs to no collection, or to others.

        Parameters
        ----------
        collection_ids : container of int or None
            The collections; None for no restriction.

        Returns
        -------
        Inventory
            What is left.
        """
        if collection_ids is None:
            return self
        kept = (item for item in self.items if item.collection_id in collection_ids)
        folders = (each for each in self.folders if _number(each) in collection_ids)
        return replace(self, items=tuple(kept), folders=tuple(folders))


def scan(root: Path, below: str = "") -> Inventory:
    """List the files of a store.

    Parameters
    ----------
    root : pathlib.Path
        The store; it need not exist.
    below : str
        Only those in this folder, relative to the store.

    Returns
    -------
    Inventory
        Its files. Links are followed at the folders of collections and at ours, and
        nowhere else.

    Examples
    --------
    >>> scan(Path("/no/such/store")).items
    ()
    """
    if not os.access(root, os.F_OK) or not root.is_dir():
        return Inventory(root)
    found = _Found()
    _walk(root, below, found, linked=False)
    return Inventory(
        root,
        exists=True,
        items=tuple(sorted(found.items, key=lambda item: item.path)),
        folders=tuple(sorted(found.folders)),
        links=frozenset(found.links),
        closed=tuple(found.closed),
    )


@dataclass
class _Found:
    items: list[Item] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)


def _walk(root: Path, folder: str, found: _Found, *, linked: bool) -> None:
    try:
        with os.scandir(root / folder) as entries:
            listed = list(entries)
    except FileNotFoundError:
        return
    except OSError as error:
        found.closed.append((folder, error.strerror or str(error)))
        return
    for entry in listed:
        path = f"{folder}/{entry.name}" if folder else entry.name
        link = entry.is_symlink()
        if _FOLDERS.fullmatch(path) and _is_folder(entry) and _may_follow(path, link):
            found.folders.append(path)
            found.links += [path] if linked or link else []
            _walk(root, path, found, linked=linked or link)
        elif (item := _item(entry, path, linked=linked)) is not None:
            found.items.append(item)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _may_follow(path: str, link: bool) -> bool:
    # NOTE: as deep as that, links might lead in a circle.
    return not (link and path.startswith(f"{OURS}/gridded/"))


def _item(entry: os.DirEntry[str], path: str, *, linked: bool) -> Item | None:
    try:
        state = entry.stat()
    except FileNotFoundError:
        # NOTE: a link that leads nowhere, or a file that has gone meanwhile.
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError:
            return None
    except OSError:
        return Item("other", path, linked=linked)
    kind, collection_id, image_id = _classify(path, stat.S_ISREG(state.st_mode))
    size = state.st_size if stat.S_ISREG(state.st_mode) else 0
    if kind == "frozen" and state.st_nlink > 1:
        size = 0  # a second name of the image takes no room
    ids = collection_id, image_id
    return Item(kind, path, *ids, size, state.st_mtime_ns, linked)


def _classify(path: str, is_file: bool) -> tuple[Kind, int | None, int | None]:
    folder, _, name = path.rpartition("/")
    if is_temporary(name):
        return "temporary", _number(folder), None
    own = path.startswith(f"{OURS}/")
    inside = path.removeprefix(f"{OURS}/")
    for kind, pattern in (_OWN if own else _SHARED).items() if is_file else ():
        match = pattern.fullmatch(inside)
        if match is not None:
            ids = match.groupdict()
            return kind, _int(ids.get("collection")), _int(ids.get("image"))
    return "other", _number(folder), None


_IN_FOLDER = re.compile(rf"(?:{re.escape(OURS)}/[^/]+/)?{_IN}")


def _number(folder: str) -> int | None:
    """Give the collection that a folder is for."""
    match = _IN_FOLDER.fullmatch(folder)
    return _int(match["collection"]) if match else None


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)
