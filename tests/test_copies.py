"""Files of records beside nilearn's tree, for readers that want a path."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from trees import collection, image

from intake_neurovault import atomic
from intake_neurovault.client import Client
from intake_neurovault.copies import local_copy
from intake_neurovault.errors import NeuroVaultWarning
from intake_neurovault.layout import OURS, Location
from intake_neurovault.listings import Listings
from intake_neurovault.records import Collection, Image
from intake_neurovault.store import Store

RECORDS = [
    (Location("collection_metadata", 12), collection(), "about.json"),
    (Location("image_metadata", 12, 3), image(), "image_3_metadata.json"),
]


@pytest.fixture
def listings(data_dir: Path) -> Listings:
    return Listings(Client(), Store.parse(data_dir))


@pytest.mark.parametrize(("location", "record", "name"), RECORDS)
def test_writing_clears_what_a_killed_writer_left(
    listings: Listings, location: Location, record: Collection | Image, name: str
) -> None:
    folder = listings.store.root / OURS / "records" / "collection_12"
    folder.mkdir(parents=True)
    stray = folder / (".part-" + "0" * 32 + "-" + name)
    stray.touch()
    then = time.time() - 2 * atomic.DAY
    os.utime(stray, (then, then))
    place = local_copy(listings, location, lambda: record)
    assert place == folder / name
    assert json.loads(place.read_bytes())["id"] == record.id
    assert list(folder.iterdir()) == [place]


def test_without_a_place_to_write_to_the_content_is_given(listings: Listings) -> None:
    listings.store.root.mkdir(parents=True)
    (listings.store.root / OURS).touch()
    location, record, _ = RECORDS[0]
    with pytest.warns(NeuroVaultWarning, match="cannot be written.*pass data_dir="):
        found = local_copy(listings, location, lambda: record)
    assert isinstance(found, bytes)
    assert json.loads(found)["id"] == 12
