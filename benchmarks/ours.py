"""The work, done with this package."""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

# NOTE: imports are not timed on either side, nor counted as memory that the work takes;
# nilearn has these at once, this package at the first map.
import scipy.linalg
import scipy.ndimage  # noqa: F401

import intake_neurovault
from benchmarks.case import Data, Place, Work
from benchmarks.shared import (
    EVERYTHING,
    MASK,
    POINT,
    RADIUS,
    SELECTIVE,
    SERVER,
    SUBJECTS,
    digests,
    originals,
    rows,
)
from intake_neurovault import search
from intake_neurovault.index import Index
from intake_neurovault.nifti import Reader
from intake_neurovault.resampling import resample

TERMS: Mapping[str, Mapping[str, Any]] = {
    "default": {"max_images": None},
    "selective": {
        **EVERYTHING,
        "image_terms": {**SELECTIVE, "number_of_subjects": {"$gte": SUBJECTS}},
    },
}
KEPT: Mapping[str, Mapping[str, Any]] = {
    "gridded": {},
    "originals": {"keep_gridded": False},
}
"""How a search is told to use what is kept on the 3 mm grid, or not to."""
WHOLE = """
import sys
from intake_neurovault import search

everything = {"image_terms": {}, "collection_terms": {}, "max_images": None}
where = {"data_dir": sys.argv[1], "url": sys.argv[2], "mode": "offline"}
print(*search(**everything, **where).to_dask().image.values)
"""


def fetch(place: Place, count: int, latency: float, workers: int = 8) -> Work:
    """Fetch so many images into an empty store."""
    return Work(cold(place, count, latency, workers).fetch, digests)


def fetch_resampled(place: Place, count: int, latency: float) -> Work:
    """Fetch so many images, and compute them on the 3 mm grid."""
    found = cold(place, count, latency, workers=8)

    def fetch_and_read() -> Any:
        found.fetch()
        return found.read()

    return Work(
        fetch_and_read,
        lambda cube: dict(
            zip(cube.image.values.tolist(), cube.maps.values, strict=True)
        ),
    )


def cold(place: Place, count: int, latency: float, workers: int) -> Any:
    """Describe so many images of the server, of which nothing is there yet."""
    return search(
        url=place.urls[latency],
        data_dir=place.scratch,
        max_images=count,
        workers=workers,
        progress=False,
    )


def query(place: Place, terms: str) -> Work:
    """Search the records on disk, and give them whole."""

    def find() -> list[dict[str, Any]]:
        return [dict(each.metadata) for each in known(place, **TERMS[terms])]

    return Work(find, rows)


def index(data: Data, folder: Path) -> None:
    """Search the records on disk for the first time, which makes the index."""
    count = len(known(Place(folder, folder), **EVERYTHING))
    if count != data.size:
        msg = f"{folder} has {count} records, not {data.size}"
        raise RuntimeError(msg)


def first_query(place: Place, terms: str) -> Work:
    """Search the records on disk before there is an index."""
    Index(place.data / "neurovault", SERVER).path.unlink(missing_ok=True)
    return query(place, terms)


def known(place: Place, **terms: Any) -> Any:
    """Describe a search of the records on disk."""
    where = {"mode": "offline", "data_dir": place.data, "url": SERVER}
    return search(**terms, **where, progress=False)


def open_lazily(place: Place) -> Work:
    """Search the records on disk, and open what is found as a cube."""
    return Work(lambda: known(place, **EVERYTHING).to_dask(), ids)


def open_found(place: Place) -> Work:
    """Open as a cube what was found before."""
    found = known(place, **EVERYTHING)
    len(found)
    return Work(found.to_dask, ids)


def ids(cube: Any) -> list[int]:
    """Give the ids of a cube's images."""
    numbers: list[int] = sorted(cube.image.values.tolist())
    return numbers


def whole_process(place: Place) -> Work:
    """Start Python, search the records on disk, and open them as a cube."""
    # NOTE: what is installed is compiled by pip; a checkout may not be.
    compileall.compile_dir(Path(intake_neurovault.__file__).parent, quiet=1)
    command = [sys.executable, "-c", WHOLE, str(place.data), SERVER]
    return Work(
        lambda: subprocess.run(command, check=True, capture_output=True, text=True),
        lambda done: sorted(map(int, done.stdout.split())),
    )


def resample_array(place: Place) -> Work:
    """Put one map, whose voxels are in memory, on the 3 mm grid."""
    image = nibabel.load(originals(place)[0])
    values = np.asarray(image.dataobj, dtype=np.float32)
    grid: Any = Reader.parse().grid
    given = (values, image.affine, grid.matrix, grid.shape, "continuous")
    return Work(lambda: resample(*given)[0])


def resample_file(place: Place) -> Work:
    """Read one map from its file onto the 3 mm grid."""
    path = originals(place)[0]
    reader = Reader.parse(interpolation="continuous")
    return Work(lambda: reader(path, discrete=False, label="the map"))


def complete(data: Data, folder: Path) -> None:
    """Keep the maps of a store on the 3 mm grid."""
    maps = cube(Place(folder, folder), "gridded").load()
    if len(maps) != data.size:
        msg = f"{folder} has no {data.size} maps"
        raise RuntimeError(msg)


def cube(place: Place, kept: str) -> Any:
    """Open a store of maps as a cube, with or without what is kept on the grid."""
    url = (place.data / "url").read_text("utf-8")
    where = {"mode": "offline", "data_dir": place.data, "url": url, **KEPT[kept]}
    return search(**EVERYTHING, **where, progress=False).to_dask().maps


def matrix(place: Place, kept: str) -> Work:
    """Make the matrix of images and of voxels in the brain."""
    maps = cube(place, kept)
    return Work(lambda: maps.nii.to_matrix(place.data / MASK).values)


def mean(place: Place, kept: str, first: int | None = None) -> Work:
    """Average all maps, or the first ones."""
    maps = cube(place, kept)[:first]
    return Work(lambda: maps.mean("image").values)


def sphere(place: Place) -> Work:
    """Average each map within a sphere."""
    maps = cube(place, "gridded")
    return Work(lambda: maps.nii.sphere(*POINT, radius=RADIUS).mean("voxel").values)


def voxel(place: Place) -> Work:
    """Read one voxel of each map."""
    maps = cube(place, "gridded")
    at = dict(zip("xyz", POINT, strict=True))
    return Work(lambda: maps.sel(at, method="nearest").values)
