"""Local files by their bytes: what frozen queries need, whatever else is stored.

The file of an image in nilearn's tree is replaced when the server's is, and then the
bytes that somebody froze would be lost. So these get a second name beside the tree, as
a hard link, which takes no room; and bytes that are downloaded although another file
lies in their place have that name only.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from intake_neurovault import atomic, layout
from intake_neurovault.receipts import Receipt, stamp_of
from intake_neurovault.records import ImageFile
from intake_neurovault.shelf import look
from intake_neurovault.store import Store

logger = logging.getLogger(__name__)

FOLDER = f"{layout.OURS}/frozen"
"""The folder of frozen files, in a store."""


def find(store: Store, file: ImageFile) -> Path | None:
    """Give a local file that has the bytes which a frozen file must have.

    Parameters
    ----------
    store : Store
        Where to look.
    file : ImageFile
        The frozen file.

    Returns
    -------
    pathlib.Path or None
        That in nilearn's tree, if its receipt says that it is the one; it is read to
        its end if there is no receipt. Else the one of ours beside it. None if neither
        has these bytes.
    """
    place = store.local_path(file)
    if place is not None:
        entry = store.receipt(file)
        # NOTE: what may be about to be replaced has no receipt for a while.
        stored = _sha256(place) if entry is None else entry.sha256
        if has_bytes(place, file, stored):
            return place
        logger.info("%s is not the file that was frozen.", place)
    ours = _place(store, file)
    if look(ours) is None:
        return None
    if has_bytes(ours, file, _sha256(ours)):
        return ours
    logger.warning("Removed %s, which is damaged.", ours)
    with suppress(OSError):
        ours.unlink()
    return None


def is_named_rightly(path: Path) -> bool:
    """Tell whether a file of ours has the bytes that its name says.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    bool
        It is read to its end.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    sha256 = path.name.removesuffix(".nii.gz").rpartition("_")[2]
    return sha256 in (_sha256(path), _unpacked(path)[0])


def has_bytes(path: Path, file: ImageFile, stored: str) -> bool:
    """Tell whether a local file has the bytes that a frozen file must have.

    Parameters
    ----------
    path : pathlib.Path
        The local file.
    file : ImageFile
        The frozen file.
    stored : str
        Hexadecimal SHA-256 of the local file.

    Returns
    -------
    bool
        True also for a file that was served plain and is stored with gzip, where that
        leaves the same bytes.
    """
    if stored == file.sha256:
        return True
    found = look(path)
    return found is not None and _inside(path, stamp_of(found))[0] == file.sha256


def as_served(store: Store, file: ImageFile) -> tuple[str, int] | None:
    """Tell which bytes the server sent for a file in nilearn's tree.

    Parameters
    ----------
    store : Store
        The store.
    file : ImageFile
        A file that was found there.

    Returns
    -------
    tuple of (str, int), or None
        Their SHA-256, hexadecimal, and how many they are, without the gzip of ours
        around a file that was served plain; None if no file is there.
    """
    entry, place = store.receipt(file), store.place(file)
    found = look(place)
    if found is None:
        return None
    plain = not file.path.lower().endswith(".gz")
    if entry is not None and entry.served_size is not None:
        plain = entry.served_size != entry.size
    if plain:
        return _inside(place, stamp_of(found))
    return _sha256(place) if entry is None else entry.sha256, found.st_size


def keep(store: Store, file: ImageFile, path: Path) -> None:
    """Give the bytes of a frozen file a name that no newer file takes away.

    Parameters
    ----------
    store : Store
        The store.
    file : ImageFile
        The frozen file.
    path : pathlib.Path
        A local file that has these bytes.
    """
    ours = _place(store, file)
    if path == ours or ours.exists():
        return
    try:
        ours.parent.mkdir(parents=True, exist_ok=True)
        _link(path, ours)
    except OSError as error:
        logger.info("The frozen %s has no name of its own: %s", file.label, error)


def add(store: Store, file: ImageFile, write: Callable[[Path], Receipt]) -> Path:
    """Add the bytes of a frozen file, and leave the file in nilearn's tree alone.

    Parameters
    ----------
    store : Store
        The store.
    file : ImageFile
        The frozen file.
    write : callable
        Writes a whole, verified ``.nii.gz`` to the path that it is given, or raises.

    Returns
    -------
    pathlib.Path
        The new file.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    ours = _place(store, file)
    with atomic.store_errors(store.root):
        ours.parent.mkdir(parents=True, exist_ok=True)
        with atomic.temporary(ours) as part:
            write(part)
            part.replace(ours)
    return ours


def _place(store: Store, file: ImageFile) -> Path:
    number, name = file.collection_id, f"image_{file.image_id:d}_{file.sha256}.nii.gz"
    return store.root / FOLDER / layout.collection_dir(number) / name


def _link(path: Path, ours: Path) -> None:
    try:
        os.link(path, ours)
    except FileExistsError:
        return
    except OSError:
        # NOTE: some file systems know no links, and none leads to another disk.
        with atomic.temporary(ours) as part:
            shutil.copyfile(path, part)
            part.replace(ours)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def _inside(path: Path, _stamp: tuple[int, int, int]) -> tuple[str, int]:
    """Unpack a file once, as long as it stays the same."""
    return _unpacked(path)


def _unpacked(path: Path) -> tuple[str, int]:
    """Give SHA-256 and number of the bytes within the gzip; no hash for none."""
    try:
        with gzip.open(path) as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            return digest, source.tell()
    except (EOFError, OSError, zlib.error) as error:
        logger.debug("%s is no whole gzip: %s", path, error)
        return "", 0
