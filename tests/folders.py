"""What the tests of the filesystems share: a small archive, and both ways to it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from intake_neurovault.filesystem import (
    NeuroVaultCacheFileSystem,
    NeuroVaultFileSystem,
)
from intake_neurovault.testing import PRIVATE_NAME, Archive, NeuroVaultServer, Volume

CHAIN = "neurovaultcache::neurovault://"
IMAGE = "collection_7/image_71.nii.gz"
SIDECAR = "collection_7/image_71_metadata.json"
ABOUT = "collection_7/collection_metadata.json"
PLAIN = "collection_7/image_74.nii.gz"
HIDDEN = "collection_9/image_91.nii.gz"
DEAD = "http://127.0.0.1:9"


def small_archive() -> Archive:
    """Two collections with small maps, and a private one."""
    archive = Archive()
    archive.add_collection("Finger tapping", id=7, DOI="10.5555/x.7")
    for number in (71, 72, 73):
        archive.add_image(7, Volume("mni6", number, "motor"), id=number)
    plain = Volume("mni6", 74, compressed=False)
    archive.add_image(7, plain, id=74, filename="plain.nii")
    archive.add_collection("Elsewhere", id=8)
    archive.add_image(8, Volume("mni6", 81), id=81)
    archive.add_collection("Hidden", id=9, token=PRIVATE_NAME)
    archive.add_image(9, Volume("mni6", 91), id=91)
    return archive


def cached(url: str, data_dir: Path, **options: Any) -> NeuroVaultCacheFileSystem:
    """Make the filesystem that keeps what it fetches."""
    target = {"url": url, "retries": 0}
    return NeuroVaultCacheFileSystem(
        target_options=target, data_dir=str(data_dir), **options
    )


def both(url: str, data_dir: Path, **options: Any) -> dict[str, Any]:
    """Make each filesystem, new and unknown to fsspec's memory."""
    options["skip_instance_cache"] = True
    return {
        "direct": NeuroVaultFileSystem(url=url, retries=0, **options),
        "kept": cached(url, data_dir, **options),
    }


def chained(server: NeuroVaultServer, data_dir: Path) -> dict[str, Any]:
    """Give the options of a chained URL."""
    return {
        "neurovault": {"url": server.url, "retries": 0},
        "neurovaultcache": {"data_dir": str(data_dir)},
    }


def paths_of(server: NeuroVaultServer) -> Counter[str]:
    """Count what was asked, ids and tokens left in."""
    return Counter(request.path for request in server.requests)


def files_in(folder: Path) -> set[str]:
    """Name all files below a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
