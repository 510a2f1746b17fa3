"""The work, done with nilearn."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from nilearn.datasets import fetch_neurovault, load_mni152_brain_mask
from nilearn.datasets.neurovault import STD_AFFINE, GreaterOrEqual
from nilearn.image import mean_img, resample_img
from nilearn.maskers import NiftiMasker, NiftiSpheresMasker

from benchmarks.case import Data, Place, Work
from benchmarks.shared import (
    EVERYTHING,
    MASK,
    POINT,
    RADIUS,
    SELECTIVE,
    SUBJECTS,
    digests,
    originals,
    resampled,
    rows,
)

SHAPE = (61, 73, 61)
"""Of the MNI152 box in steps of 3 mm."""

TERMS: Mapping[str, Mapping[str, Any]] = {
    "default": {"max_images": None},
    "everything": EVERYTHING,
    "selective": {
        **EVERYTHING,
        "image_terms": {**SELECTIVE, "number_of_subjects": GreaterOrEqual(SUBJECTS)},
    },
}
WHOLE = """
import sys
from nilearn.datasets import fetch_neurovault

everything = {"image_terms": {}, "collection_terms": {}, "max_images": None}
found = fetch_neurovault(
    **everything, data_dir=sys.argv[1], mode="offline", verbose=0
)
print(*(about["id"] for about in found.images_meta))
"""


def fetch(place: Place, count: int, latency: float) -> Work:
    """Fetch so many images into an empty store."""
    return Work(
        lambda: cold(place, count, latency, resample=False),
        lambda found: digests(paths(found)),
    )


def fetch_resampled(place: Place, count: int, latency: float) -> Work:
    """Fetch so many images, and keep them on the 3 mm grid."""
    return Work(
        lambda: cold(place, count, latency, resample=True),
        lambda found: {
            number: np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
            for number, path in paths(found).items()
        },
    )


def cold(place: Place, count: int, latency: float, *, resample: bool) -> Any:
    """Fetch with nilearn, pointed to another server."""
    url = place.urls[latency]
    module = importlib.import_module(fetch_neurovault.__module__)
    module._NEUROVAULT_BASE_URL = f"{url}/api/"
    module._NEUROVAULT_COLLECTIONS_URL = f"{url}/api/collections/"
    module._NEUROVAULT_IMAGES_URL = f"{url}/api/images/"
    return fetch_neurovault(
        max_images=count, data_dir=place.scratch, resample=resample, verbose=0
    )


def paths(found: Any) -> dict[int, Path]:
    """Give the files of what nilearn found, by id."""
    ids = [about["id"] for about in found.images_meta]
    return dict(zip(ids, map(Path, found.images), strict=True))


def query(place: Place, terms: str) -> Work:
    """Search the records on disk, and give them whole."""
    return Work(lambda: known(place, terms), lambda found: rows(found.images_meta))


def open_all(place: Place) -> Work:
    """List all maps on disk."""
    return Work(
        lambda: known(place, "everything"),
        lambda found: sorted(about["id"] for about in found.images_meta),
    )


def known(place: Place, terms: str, **more: Any) -> Any:
    """Search the records on disk."""
    return fetch_neurovault(
        **TERMS[terms], mode="offline", data_dir=place.data, verbose=0, **more
    )


def whole_process(place: Place) -> Work:
    """Start Python, and list all maps on disk."""
    command = [sys.executable, "-c", WHOLE, str(place.data)]
    return Work(
        lambda: subprocess.run(command, check=True, capture_output=True, text=True),
        lambda done: sorted(map(int, done.stdout.splitlines()[-1].split())),
    )


def complete(data: Data, folder: Path) -> None:
    """Add to a store the mask, and what nilearn keeps on the 3 mm grid."""
    mask = resample_img(load_mni152_brain_mask(), STD_AFFINE, SHAPE, "nearest")
    mask.to_filename(folder / MASK)
    place = Place(folder, folder)
    known(place, "everything", resample=True)
    if len(resampled(place)) != data.size:
        msg = f"{folder} has no {data.size} maps of 3 mm"
        raise RuntimeError(msg)


def resample_array(place: Place) -> Work:
    """Put one map, whose voxels are in memory, on the 3 mm grid."""
    image = nibabel.load(originals(place)[0])
    values = np.asarray(image.dataobj, dtype=np.float32)
    loaded = nibabel.Nifti1Image(values, image.affine)
    return Work(lambda: resample_img(loaded, STD_AFFINE, SHAPE), voxels)


def resample_file(place: Place) -> Work:
    """Read one map from its file onto the 3 mm grid."""
    path = originals(place)[0]
    return Work(lambda: resample_img(path, STD_AFFINE, SHAPE), voxels)


def voxels(image: Any) -> Any:
    """Give the numbers of an image."""
    return np.asarray(image.dataobj)


def files(place: Place, kept: str) -> list[Path]:
    """List the files as served, or those on the 3 mm grid."""
    return originals(place) if kept == "originals" else resampled(place)


def matrix(place: Place, kept: str) -> Work:
    """Make the matrix: hand a list to the masker."""
    masker = NiftiMasker(place.data / MASK).fit()
    maps = files(place, kept)
    return Work(lambda: masker.transform(maps))


def matrix_by_map(place: Place, kept: str, processes: int) -> Work:
    """Make the matrix: hand map after map to the masker."""
    masker = NiftiMasker(place.data / MASK).fit()
    maps = files(place, kept)
    parts = [maps[number::processes] for number in range(processes)]

    def inside() -> list[Any]:
        return Parallel(processes)(delayed(transformed)(masker, part) for part in parts)

    def ordered(found: list[Any]) -> Any:
        # NOTE: joblib's processes would else be waited for, for minutes, at the end.
        get_reusable_executor().shutdown(wait=True)
        rows = np.empty((len(maps), found[0].shape[1]), found[0].dtype)
        for number, part in enumerate(found):
            rows[number::processes] = part
        return rows

    return Work(inside, ordered)


def transformed(masker: NiftiMasker, maps: list[Path]) -> Any:
    """Hand one map after the other to a masker."""
    return np.vstack([masker.transform(path) for path in maps])


def mean(place: Place, kept: str) -> Work:
    """Average all maps."""
    maps = files(place, kept)
    return Work(lambda: mean_img(maps, STD_AFFINE, SHAPE), voxels)


def sphere(place: Place) -> Work:
    """Average each map within a sphere."""
    maps = resampled(place)
    masker = NiftiSpheresMasker([POINT], RADIUS)
    return Work(lambda: masker.fit_transform(maps)[:, 0])


def voxel(place: Place) -> Work:
    """Read one voxel of each map, and nothing that follows it in the file."""
    maps = resampled(place)
    at = np.linalg.solve(STD_AFFINE, [*POINT, 1])[:3].round().astype(int)
    return Work(lambda: [nibabel.load(path).dataobj[tuple(at)] for path in maps])
