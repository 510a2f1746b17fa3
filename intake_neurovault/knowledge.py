"""What the local store has of one map: looked up on disk, without any request."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from io import FileIO
from pathlib import Path

from intake_neurovault import layout
from intake_neurovault.about import About
from intake_neurovault.gridded_files import FOLDER, read_content
from intake_neurovault.hemispheres import Hemisphere
from intake_neurovault.kept import Kept, KeptSurface, OnGrid
from intake_neurovault.mirror import Mirror
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.shelf import look
from intake_neurovault.store import Store
from intake_neurovault.surfaces import receipt_of, surfaces_of

logger = logging.getLogger(__name__)


def everything_about(mirror: Mirror, image: Image, collection: Collection) -> About:
    """Tell everything known about a map; nothing is requested.

    Parameters
    ----------
    mirror : Mirror
        The server that it is from, and the store.
    image : Image
        Its record.
    collection : Collection
        The record of its collection.

    Returns
    -------
    About
        What is known now. Files are looked at from outside and none is verified by
        it, but for frozen ones, of which only the right bytes count.
    """
    store, file = mirror.store, image.file
    numbers = image.collection_id, image.id
    kept = Kept(None) if file is None else _kept(mirror, file)
    kept = replace(
        kept,
        grids=tuple(_grids(store.root, *numbers)),
        resampled=_if_there(store.root / layout.resampled_path(*numbers)),
        words=_if_there(store.root / layout.words_path(*numbers)),
        surfaces=dict(_surfaces(mirror, image)),
    )
    return About(image, collection, mirror.client.url, kept)


def _kept(mirror: Mirror, file: ImageFile) -> Kept:
    store, place = mirror.store, mirror.store.place(file)
    if file.sha256 is not None and (frozen := mirror.kept(file)) != place:
        # NOTE: in nilearn's tree lies another file by now, or none.
        if frozen is None:
            return Kept(place)
        found = look(frozen)
        size = found.st_size if found else None
        return Kept(frozen, size, file.sha256, current=True)
    found = look(place)
    if found is None:
        return Kept(place)
    entry = store.receipt(file)
    return Kept(
        place,
        found.st_size,
        entry.sha256 if entry else None,
        _verified(store, file) if entry else None,
        current=file.sha256 is not None or store.is_current(file),
        foreign=entry is not None and entry.is_elsewhere(file),
    )


def _surfaces(mirror: Mirror, image: Image) -> Iterator[tuple[Hemisphere, KeptSurface]]:
    for hemisphere, file in surfaces_of(image, mirror.client.url).items():
        place = mirror.store.place(file)
        found, entry = look(place), mirror.store.receipt(file)
        known = entry.sha256 if entry else None
        yield hemisphere, KeptSurface(place, found.st_size if found else None, known)


def _verified(store: Store, file: ImageFile) -> float | None:
    """Tell when a receipt was written."""
    noted = look(store.root / receipt_of(file))
    return noted.st_mtime if noted else None


def _if_there(path: Path) -> Path | None:
    return path if look(path) else None


def _grids(root: Path, collection_id: int, image_id: int) -> Iterator[OnGrid]:
    """Give the grids on which a map is kept, as its files there say."""
    inside = f"{layout.collection_dir(collection_id)}/image_{image_id:d}.nii"
    try:
        with os.scandir(root / FOLDER) as entries:
            folders = sorted(entry.name for entry in entries)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.info("Passed over: %s cannot be looked into (%s).", FOLDER, error)
        return
    for folder in folders:
        path = root / FOLDER / folder / inside
        found = look(path)
        if found is None:
            continue
        try:
            with FileIO(path) as file:
                content = read_content(file, found.st_size)
        except OSError as error:
            logger.info("Passed over: %s cannot be read (%s).", path, error)
            continue
        if content is not None and content.rules.folder == folder:
            rules = content.rules
            name = rules.grid.to_spec()
            label = f"{name}, " if isinstance(name, str) else ""
            yield OnGrid(path, f"{label}{rules.grid.describe()}", rules.method)
