from __future__ import annotations

import pickle
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault import layout
from intake_neurovault.errors import ArgumentError, MissingError
from intake_neurovault.layout import Location, parse, unparse

IDS = st.integers(1, 10**18)
LOCATIONS = st.one_of(
    st.just(Location("root")),
    st.builds(
        Location, st.sampled_from(["collection", "collection_metadata"]), IDS, st.none()
    ),
    st.builds(Location, st.sampled_from(["image", "image_metadata"]), IDS, IDS),
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (layout.collection_dir(12), "collection_12"),
        (
            layout.collection_metadata_path(12),
            "collection_12/collection_metadata.json",
        ),
        (layout.image_path(12, 3), "collection_12/image_3.nii.gz"),
        (layout.sidecar_path(12, 3), "collection_12/image_3_metadata.json"),
        (layout.resampled_path(12, 3), "collection_12/image_3_resampled.nii.gz"),
        (layout.words_path(12, 3), "collection_12/neurosynth_words_for_image_3.json"),
        (
            layout.receipt_path(12, 3),
            ".intake_neurovault/receipts/collection_12/image_3.json",
        ),
    ],
)
def test_nilearns_names_and_ours(path: str, expected: str):
    assert path == expected


@pytest.mark.parametrize("value", ["../x", "12", None, 1.5])
def test_only_numbers_stand_in_paths(value: object):
    with pytest.raises((ValueError, TypeError), match="format"):
        layout.collection_dir(value)
    with pytest.raises((ValueError, TypeError), match="format"):
        layout.image_path(12, value)


@pytest.mark.parametrize(
    ("server", "folder"),
    [
        ("https://neurovault.org", "neurovault.org"),
        ("http://neurovault.org/", "neurovault.org"),
        ("https://NeuroVault.ORG", "neurovault.org"),
        ("http://127.0.0.1:8000", "127.0.0.1+8000"),
        ("http://[::1]:80", "%5B++1%5D+80"),
        ("https://lab.org/nv", "lab.org%2Fnv"),
        ("https://user:hunter2@lab.org", "lab.org"),
        ("https://übung.org", "%C3%BCbung.org"),
        ("https://..", "%2E."),
        ("https://.", "%2E"),
    ],
)
def test_each_server_has_its_listings(server: str, folder: str):
    base = f".intake_neurovault/listings/{folder}"
    assert layout.listing_path(server, None) == f"{base}/collections.json"
    assert layout.listing_path(server, 12) == f"{base}/collection_12.json"


@pytest.mark.parametrize("server", ["", "neurovault.org", "https://", "/nv"])
def test_a_server_needs_a_host(server: str):
    with pytest.raises(ArgumentError, match="names no server; write it as"):
        layout.listing_path(server, None)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_listing_never_leaves_its_folder(netloc: str):
    try:
        path = layout.listing_path(f"https://{netloc}", 12)
    except ValueError:
        return
    parts = PurePosixPath(path).parts
    assert parts[:2] == (".intake_neurovault", "listings")
    assert len(parts) == 4
    assert not set(parts[2]) & set('/\\:*?"<>| ')
    assert not parts[2].startswith(".")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("", Location("root")),
        ("/", Location("root")),
        ("collection_12", Location("collection", 12)),
        ("/collection_12/", Location("collection", 12)),
        (
            "collection_12/collection_metadata.json",
            Location("collection_metadata", 12),
        ),
        ("collection_12/image_3.nii.gz", Location("image", 12, 3)),
        ("//collection_12/image_3.nii.gz", Location("image", 12, 3)),
        ("collection_12/image_3_metadata.json", Location("image_metadata", 12, 3)),
    ],
)
def test_paths_lead_somewhere(path: str, location: Location):
    assert parse(path) == location
    assert unparse(location) == path.strip("/")


@pytest.mark.parametrize(
    "path",
    [
        ".",
        "..",
        "../collection_12",
        "collection_12/..",
        "collection_12/../collection_13",
        "collection_12/./image_3.nii.gz",
        "collection_12//image_3.nii.gz",
        "collection_12\\image_3.nii.gz",
        "/etc/passwd",
        "C:/collection_12",
        "collection_0",
        "collection_012",
        "collection_-1",
        "collection_1.0",
        "collection_１２",
        "collection_",
        "collection_12\n",
        "Collection_12",
        "collection_12/image_0.nii.gz",
        "collection_12/image_03.nii.gz",
        "collection_12/image_3.nii",
        "collection_12/image_3.nii.gz/x",
        "collection_12/image_3_resampled.nii.gz",
        "collection_12/neurosynth_words_for_image_3.json",
        "collection_12/image_3.nii.gz\x00",
        "image_3.nii.gz",
        "collection_" + "9" * 5000,
        ".intake_neurovault",
        ".intake_neurovault/listings/neurovault.org/collections.json",
    ],
    ids=lambda path: ascii(path)[:60],
)
def test_paths_that_lead_nowhere(path: str):
    with pytest.raises(MissingError, match=r"NeuroVault has no .*; a path is written"):
        parse(path)


def test_nowhere_is_a_file_not_found():
    with pytest.raises(FileNotFoundError, match="has no 'x'"):
        parse("x")


@given(LOCATIONS)
def test_there_and_back(location: Location):
    assert parse(unparse(location)) == location
    assert pickle.loads(pickle.dumps(location)) == location


@given(st.text())
def test_only_what_is_written_back_is_read(path: str):
    try:
        location = parse(path)
    except MissingError:
        return
    assert unparse(location) == path.strip("/")


@pytest.mark.parametrize(
    ("kind", "ids"),
    [
        ("root", (12, None)),
        ("root", (None, 3)),
        ("collection", (None, None)),
        ("collection", (12, 3)),
        ("collection_metadata", (None, 3)),
        ("image", (12, None)),
        ("image", (None, 3)),
        ("image_metadata", (12, None)),
    ],
)
def test_a_location_has_the_ids_of_its_kind(
    kind: layout.LocationKind, ids: tuple[int | None, int | None]
):
    with pytest.raises(ArgumentError, match=f"location of kind '{kind}' needs"):
        Location(kind, *ids)
