"""What both sides ask for, and how their results are told; standard library alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.case import Place

SERVER = "https://neurovault.org"
"""Where the made-up records say that they come from."""

MASK = "mask.nii"
"""A mask of the brain on the 3 mm grid, beside each store of maps."""

POINT = (-38.0, -24.0, 56.0)
"""Millimetres; in the left motor cortex."""

RADIUS = 8.0
"""Millimetres."""

EVERYTHING: Mapping[str, Any] = {
    "image_terms": {},
    "collection_terms": {},
    "max_images": None,
}
"""Arguments of a search that asks for all there is; both sides name them alike."""

SELECTIVE: Mapping[str, Any] = {
    "map_type": "F map",
    "cognitive_paradigm_cogatlas": "motor",
}
"""What a selective search asks for, besides at least so many subjects."""

SUBJECTS = 60

FIELDS = (
    "id",
    "collection_id",
    "name",
    "map_type",
    "number_of_subjects",
    "cognitive_paradigm_cogatlas",
    "modify_date",
    "contrast_definition",
)


def digests(paths: Mapping[int, Path]) -> list[tuple[int, str]]:
    """Give the SHA-256 of each file."""
    return [
        (number, hashlib.sha256(path.read_bytes()).hexdigest())
        for number, path in paths.items()
    ]


def rows(found: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Give the fields of records by which they are compared, by ascending id."""
    return sorted(tuple(about[name] for name in FIELDS) for about in found)


def originals(place: Place) -> list[Path]:
    """List the files of a store of maps, as served, in the order of their ids."""
    return _files(place, re.compile(r"image_(\d+)\.nii\.gz"))


def resampled(place: Place) -> list[Path]:
    """List the files on the 3 mm grid that nilearn made of them, in the same order."""
    return _files(place, re.compile(r"image_(\d+)_resampled\.nii\.gz"))


def _files(place: Place, name: re.Pattern[str]) -> list[Path]:
    paths = (place.data / "neurovault").glob("collection_*/*.nii.gz")
    found = {
        int(match[1]): path for path in paths if (match := name.fullmatch(path.name))
    }
    return [found[number] for number in sorted(found)]
