"""What the tests of the store put into it: small maps and their records."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.store import Store

SERVER = "https://neurovault.org"


@dataclass(frozen=True)
class Written:
    """What a download reports."""

    served_size: int
    stored_size: int
    sha256: str
    attempts: int = 1
    last_modified: str | None = None


@cache
def nifti(seed: int = 0) -> bytes:
    """A whole map of 10 mm, not gzipped."""
    data = np.random.default_rng(seed).standard_normal((19, 23, 19), dtype="f4")
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = -90, -126, -72
    return nibabel.Nifti1Image(data, affine).to_bytes()


@cache
def gzipped(seed: int = 0) -> bytes:
    return gzip.compress(nifti(seed), mtime=0)


def image_json(image_id: int = 3, collection_id: int = 12, **more: Any) -> dict:
    return {
        "url": f"{SERVER}/images/{image_id}/",
        "id": image_id,
        "file": f"http://neurovault.org/media/images/{collection_id}/m%20{image_id}.nii.gz",
        "collection": f"{SERVER}/collections/{collection_id}/",
        "collection_id": collection_id,
        "file_size": len(gzipped()),
        "name": "faces − houses",
        "modify_date": "2024-05-01T12:00:00.000001+02:00",
        "image_type": "statistic_map",
        "map_type": "Z map",
        "not_mni": False,
        "is_thresholded": False,
        "handedness": "None",
        "task": "n/a",
        "absolute_pitch": 1,
    } | more


def collection_json(collection_id: int = 12, **more: Any) -> dict:
    return {
        "id": collection_id,
        "url": f"{SERVER}/collections/{collection_id}/",
        "name": "Émotions",
        "DOI": None,
        "number_of_images": 2,
        "journal_name": "",
    } | more


def image(image_id: int = 3, collection_id: int = 12, **more: Any) -> Image:
    raw = image_json(image_id, collection_id, **more)
    return Image.from_json(raw, base_url=SERVER)


def image_file(image_id: int = 3, collection_id: int = 12, **more: Any) -> ImageFile:
    found = image(image_id, collection_id, **more).file
    assert found is not None
    return found


def collection(collection_id: int = 12, **more: Any) -> Collection:
    return Collection.from_json(collection_json(collection_id, **more))


def writer(data: bytes | None = None):
    """A download that succeeds."""
    content = gzipped() if data is None else data

    def write(target: Path) -> Written:
        target.write_bytes(content)
        size = len(content)
        return Written(size, size, hashlib.sha256(content).hexdigest())

    return write


def add(
    store: Store, image_id: int = 3, collection_id: int = 12, seed: int = 0
) -> Path:
    return store.add(
        image(image_id, collection_id), collection(collection_id), writer(gzipped(seed))
    )


def tree(root: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, with their content."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }


def add_after(barrier: Any, data_dir: Path, seed: int) -> None:
    """Wait for the others, then add five images: the work of a thread or process."""
    barrier.wait(60)
    for image_id in range(1, 6):
        add(Store.parse(data_dir), image_id, seed=seed)
