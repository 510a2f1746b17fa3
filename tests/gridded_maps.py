"""What the tests of gridded maps share: an archive, the maps kept, a forger."""

from __future__ import annotations

from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from folders import small_archive

from intake_neurovault.gridded_files import FOLDER, Content, encode, read_content
from intake_neurovault.receipts import stamp_of
from intake_neurovault.testing import Archive, Volume

IDS = [71, 72, 73]
SLAB, LABELS, ODD = 75, 76, 77
GRID = 12


def archive_of_maps() -> Archive:
    """Three small maps in collection 7; a slab, labels, and one of four dimensions."""
    archive = small_archive()
    archive.add_image(7, Volume("slab3", 75), id=SLAB)
    archive.add_image(7, Volume("mni6", 76), id=LABELS, map_type="ROI/mask")
    archive.add_image(7, b"<html>", id=ODD)
    return archive


def gridded(data_dir: Path, image_id: int | str = "*") -> list[Path]:
    """Find the gridded maps in a store, sorted."""
    folder = data_dir / "neurovault" / FOLDER
    return sorted(folder.glob(f"*_*/collection_*/image_{image_id}.nii"))


def states(data_dir: Path) -> list[tuple[int, int, int]]:
    """Give what changes whenever a gridded map is made anew."""
    return [stamp_of(path.stat()) for path in gridded(data_dir)]


def content_of(path: Path) -> Content:
    """Read what a gridded map says of itself."""
    with FileIO(path) as file:
        found = read_content(file, path.stat().st_size)
    assert found is not None
    return found


def forge(path: Path, value: float = 5.0) -> None:
    """Put another map in the place of a gridded one, whole and of the same origin.

    Whoever reads this value has not computed anything.
    """
    found = content_of(path)
    data: Any = np.full(found.rules.grid.shape, value, dtype="f4")
    part = path.with_name("forged")
    part.write_bytes(encode(found.rules, found.origin, data, "forged"))
    part.replace(path)


def forge_all(data_dir: Path) -> None:
    """Forge every gridded map of a store."""
    for path in gridded(data_dir):
        forge(path)
