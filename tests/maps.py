"""What the tests of the cube put into it: small maps, their records, openers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.grid import Grid, parse_grid
from intake_neurovault.nifti import make_image
from intake_neurovault.records import Collection, Image, ImageFile

COARSE = parse_grid(10)
"""The MNI152 box in steps of 10 mm: 19×22×19 voxels."""
FLIPPED = Grid((-12, 0, 0, 90, 0, 12, 0, -126, 0, 0, 12, -72, 0, 0, 0, 1), (16, 19, 16))
"""The same box in steps of 12 mm, x from right to left."""
OBLIQUE = Grid((9, 1, 0, -80, -1, 9, 0, -120, 0, 0, 10, -70, 0, 0, 0, 1), (16, 20, 17))
"""A box turned about z."""

COLLECTIONS = {
    1: Collection.from_json({"id": 1, "name": "Faces", "DOI": "10.1000/faces"}),
    2: Collection.from_json({"id": 2, "name": "Motor", "DOI": None}),
}


def values(number: int, grid: Grid = COARSE) -> NDArray[np.float32]:
    """What the file of an image holds."""
    return np.random.default_rng(number).standard_normal(grid.shape, dtype="f4")


def record(number: int, **fields: Any) -> Image:
    """Make the record of an image, with a few fields that all have."""
    raw = {
        "id": number,
        "collection_id": 1,
        "name": f"map {number}",
        "map_type": "Z map",
        "image_type": "statistic_map",
        "file": f"http://neurovault.org/media/images/1/{number}.nii.gz",
        "file_size": 1000 + number,
        "modify_date": "2024-05-01T12:00:00.250000+02:00",
        "target_template_image": "GenericMNI",
        "subject_species": "homo sapiens",
        **fields,
    }
    return Image.from_json(raw, base_url="https://neurovault.org")


def write(
    folder: Path, number: int, data: Any, grid: Grid = COARSE, **header: Any
) -> Path:
    """Write the file of an image where the openers look for it."""
    facts = {"sform_code": 4, "qform_code": 1, "xyzt_units": "mm sec"}
    image = make_image(data, grid.matrix, **{**facts, "description": "small", **header})
    path = folder / f"{number}.nii.gz"
    image.to_filename(path)
    return path


def write_values(folder: Path, numbers: Sequence[int], grid: Grid = COARSE) -> None:
    """Write the usual files of some images."""
    for number in numbers:
        write(folder, number, values(number, grid), grid)


def write_values_of(folder: Path, number: int) -> None:
    """Write the usual file of an image."""
    write(folder, number, values(number))


@dataclass(frozen=True)
class FolderOpener:
    """Gives the files of a folder; None for one that is not there."""

    folder: Path
    """Where the files are, named by the image."""

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        paths = [self.folder / f"{file.image_id}.nii.gz" for file in files]
        return nullcontext(iter([path if path.exists() else None for path in paths]))


@dataclass(frozen=True)
class StrictOpener(FolderOpener):
    """Raises for a file that is not there."""

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        for file in files:
            if not (self.folder / f"{file.image_id}.nii.gz").exists():
                msg = f"image {file.image_id} is truncated"
                raise CorruptFileError(msg)
        return super().__call__(files)


@dataclass(frozen=True)
class CountingOpener(FolderOpener):
    """Remembers what it was asked for; of use within one process only."""

    calls: list[list[int]] = field(default_factory=list, compare=False)
    """The images of each call."""

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        self.calls.append([file.image_id for file in files])
        return super().__call__(files)

    @property
    def opened(self) -> list[int]:
        """All images asked for, in ascending order."""
        return sorted(number for call in self.calls for number in call)


@dataclass(frozen=True)
class MendingOpener(CountingOpener):
    """Makes a file anew when it is doubted."""

    mend: Callable[[Path, int], object] = write_values_of
    """Called with the folder and the number of the image."""

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        for file in files if doubted else ():
            self.mend(self.folder, file.image_id)
        return super().__call__(files)
