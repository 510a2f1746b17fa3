"""A store of many records, written as a first search and a fetch of all would."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shared import SERVER
from intake_neurovault.ledger import Ledger, StoredListing
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS
from intake_neurovault.sidecars import collection_bytes, image_bytes

PER_COLLECTION = 50
MAP_TYPES = ("Z map", "T map", "F map", "ROI/mask", "other")
PARADIGMS = ("n-back", "motor", "faces", "rest", "stop signal", "reading")
PROSE = "The contrast of one condition with another, as the authors describe it. "


def image(number: int, home: int) -> dict[str, Any]:
    """Make up the record of an image, about as long as real ones are."""
    return dict.fromkeys(IMAGE_KINDS) | {
        "id": number,
        "collection_id": home,
        "url": f"http://neurovault.org/images/{number}/",
        "collection": f"http://neurovault.org/collections/{home}/",
        "file": f"http://neurovault.org/media/images/{home}/map_{number}.nii.gz",
        "name": f"map {number}",
        "description": PROSE * (number % 7),
        "file_size": 1_000_000 + number,
        "add_date": "2016-01-21T17:26:53.123456Z",
        "modify_date": f"2017-01-{1 + number % 28:02d}T17:26:53.123456Z",
        "map_type": MAP_TYPES[number % 5],
        "cognitive_paradigm_cogatlas": PARADIGMS[number // 5 % 6],
        "contrast_definition": PROSE,
        "number_of_subjects": number % 90 or None,
        "is_thresholded": number % 6 == 0,
        "not_mni": number % 17 == 0,
        "perc_bad_voxels": number % 100 / 1.7,
        "brain_coverage": 90.1,
        "perc_voxels_outside": 12.3,
        "image_type": "statistic_map",
        "analysis_level": "group",
        "is_valid": True,
        "thumbnail": f"/media/images/{home}/thumbnail_{number}.jpg",
        "tags": [],
    }


def collection(number: int) -> dict[str, Any]:
    """Make up the record of a collection."""
    return dict.fromkeys(COLLECTION_KINDS) | {
        "id": number,
        "name": f"collection {number}",
        "description": PROSE * 5,
        "number_of_images": PER_COLLECTION,
        "DOI": f"10.5555/{number}",
    }


def fill(folder: Path, records: int) -> None:
    """Write lists and records; the files of the maps are there, but empty."""
    root = folder / "neurovault"
    ledger = Ledger(root)
    homes = [collection(number) for number in range(1, records // PER_COLLECTION + 1)]
    for about in homes:
        home = about["id"]
        place = root / f"collection_{home}"
        place.mkdir(parents=True)
        written = collection_bytes(about, home)
        (place / "collection_metadata.json").write_bytes(written)
        images = list(write_images(place, home))
        save(ledger, home, images, about)
    save(ledger, None, homes, None)


def write_images(place: Path, home: int) -> Iterator[dict[str, Any]]:
    """Write the records of one collection's images."""
    first = home * PER_COLLECTION
    for number in range(first, first + PER_COLLECTION):
        raw = image(number, home)
        written = image_bytes(raw, home, number)
        (place / f"image_{number}_metadata.json").write_bytes(written)
        # NOTE: nobody reads the maps, but nilearn looks whether they are there.
        (place / f"image_{number}.nii.gz").touch()
        yield raw


def save(
    ledger: Ledger,
    number: int | None,
    records: Sequence[dict[str, Any]],
    about: dict[str, Any] | None,
) -> None:
    """Keep a list."""
    listing = StoredListing(tuple(records), about, len(records), time.time(), True)
    ledger.save_listing(SERVER, number, listing)
