"""No file is used before it was read to its end, and none is read twice."""

from __future__ import annotations

import gzip
import logging
import os
import re
import time
import warnings
from dataclasses import replace
from pathlib import Path

import nibabel
import pytest
from trees import (
    SERVER,
    add,
    collection_json,
    gzipped,
    image_file,
    image_json,
    nifti,
    tree,
    writer,
)

from intake_neurovault import layout, sidecars
from intake_neurovault.errors import CorruptFileError, NeuroVaultWarning
from intake_neurovault.receipts import Entry
from intake_neurovault.records import Collection, Image, Token
from intake_neurovault.store import Store

FILE = image_file()
RECEIPT = layout.receipt_path(12, 3)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "neurovault")


def bring(store: Store, content: bytes, record: object = None) -> Path:
    """Leave a file as somebody else would."""
    place = store.place(FILE)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    if record is not None:
        sidecar = store.root / layout.sidecar_path(12, 3)
        sidecar.write_bytes(sidecars.image_bytes(record, 12, 3))
    return place


def change(place: Path, content: bytes, *, later: int = 0) -> None:
    """Overwrite a file in place, so many nanoseconds later."""
    before = place.stat()
    place.write_bytes(content)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns + later))


def test_nothing_there(store):
    assert store.local_path(FILE) is None
    assert store.is_current(FILE) is False
    assert store.added(FILE) is None
    assert not store.root.exists()


def test_folder_in_place_of_a_file_is_no_file(store):
    store.place(FILE).mkdir(parents=True)
    assert store.local_path(FILE) is None


def test_file_of_others_is_verified_once(store):
    place = bring(store, gzipped())
    assert store.local_path(FILE) == place
    change(place, bytes(len(gzipped())))
    assert store.local_path(FILE) == place
    assert Store(store.root).local_path(FILE) == place


def test_own_file_is_not_verified_again(store):
    place = add(store)
    change(place, bytes(len(gzipped())))
    assert store.local_path(FILE) == place


@pytest.mark.parametrize("read_only", [True, False])
def test_doubted_file_is_read_to_its_end_once(store, read_only):
    place = add(store)
    added = store.added(FILE)
    shelf = replace(store, read_only=read_only)
    shelf.doubt(FILE)
    assert store.is_unusable(FILE) is True
    assert shelf.local_path(FILE) == place
    assert store.added(FILE) == added
    assert store.is_current(FILE) is True
    assert store.is_unusable(FILE) is False
    change(place, bytes(len(gzipped())))
    assert shelf.local_path(FILE) == place


def test_doubted_file_that_is_damaged_is_set_aside(store):
    place = add(store)
    change(place, bytes(len(gzipped())))
    store.doubt(FILE)
    with pytest.warns(NeuroVaultWarning, match="not NIfTI.*moved to"):
        assert store.local_path(FILE) is None
    assert not place.exists()
    assert store.is_unusable(FILE) is False
    store.doubt(FILE)
    add(store)
    assert store.local_path(FILE) == place
    assert store.is_current(FILE) is True


def test_offline_a_doubted_file_stays_refused(store):
    """The next process, and the next one that may ask, need not find it out again."""
    place = add(store)
    change(place, bytes(len(gzipped())))
    reader = replace(store, read_only=True)
    reader.doubt(FILE)
    for _ in range(2):
        with pytest.warns(NeuroVaultWarning, match="run once without mode='offline'"):
            assert reader.local_path(FILE) is None
        assert reader.is_unusable(FILE) is True
    assert place.exists()
    with pytest.warns(NeuroVaultWarning, match="moved to"):
        assert store.local_path(FILE) is None


@pytest.mark.parametrize(
    ("content", "later"),
    [(bytes(len(gzipped())), 1), (gzipped()[:-1], 0), (b"", 0)],
    ids=["time", "size", "empty"],
)
def test_changed_file_is_verified_again(store, content, later):
    place = add(store)
    assert store.local_path(FILE) == place
    change(place, content, later=later)
    with pytest.warns(NeuroVaultWarning, match=r"image 3 \(collection 12\)"):
        assert store.local_path(FILE) is None


DAMAGED = [
    gzipped()[: len(gzipped()) // 2],
    gzipped()[:-1],
    gzipped()[:2000] + b"\0\0\0\0" + gzipped()[2004:],
    b"",
    b"<html><body>Down for maintenance</body></html>",
    gzip.compress(nifti()[:-100], mtime=0),
    nifti()[:-100],
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_file_goes_to_the_quarantine(store, content):
    place = bring(store, content, image_json())
    before = tree(store.root)
    with pytest.warns(NeuroVaultWarning, match="fetch the image to download") as seen:
        assert store.local_path(FILE) is None
    assert len(seen) == 1
    [aside] = (store.root / layout.OURS / "quarantine").rglob("*.nii.gz")
    assert aside.read_bytes() == content
    assert str(aside) in str(seen[0].message)
    assert not place.exists()
    del before["collection_12/image_3.nii.gz"]
    assert before.items() <= tree(store.root).items()
    assert store.local_path(FILE) is None


@pytest.mark.parametrize("content", DAMAGED)
def test_read_only_passes_over_a_damaged_file(store, content):
    bring(store, content, image_json())
    before = tree(store.root)
    reader = replace(store, read_only=True)
    for _ in range(2):
        with pytest.warns(NeuroVaultWarning, match="run once without mode='offline'"):
            assert reader.local_path(FILE) is None
    assert tree(store.root) == before


def test_two_damaged_versions_are_both_kept(store):
    for content in (b"one", b"two"):
        bring(store, content)
        with pytest.warns(NeuroVaultWarning, match="moved to"):
            store.local_path(FILE)
    found = (store.root / layout.OURS / "quarantine").rglob("*.nii.gz")
    assert sorted(path.read_bytes() for path in found) == [b"one", b"two"]


def test_damaged_file_that_cannot_be_moved(store, caplog):
    bring(store, b"broken")
    (store.root / layout.OURS).touch()
    with (
        caplog.at_level(logging.WARNING),
        pytest.warns(NeuroVaultWarning, match="cannot be moved, pass data_dir="),
    ):
        assert store.local_path(FILE) is None
    assert "cannot be moved to" in caplog.text


def test_memory_of_the_process_where_nothing_can_be_written(store):
    """A file in place of our folder refuses all that a read-only disk would."""
    places = [bring(store, gzipped())]
    (store.root / layout.OURS).touch()
    with pytest.warns(NeuroVaultWarning, match="verifies the files.*anew") as seen:
        assert store.local_path(FILE) == places[0]
    assert len(seen) == 1
    change(places[0], bytes(len(gzipped())))
    other = replace(store, read_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.local_path(FILE) == places[0]
        assert other.local_path(FILE) == places[0]
    change(places[0], gzipped(1), later=1)
    (store.root / layout.OURS).unlink()
    assert store.local_path(FILE) == places[0]
    assert (store.root / RECEIPT).exists()
    change(places[0], gzipped(2), later=1)
    assert store.local_path(FILE) == places[0]


def test_reading_changes_nothing_of_nilearns(store):
    bring(store, gzipped(), image_json())
    before = tree(store.root)
    store.local_path(FILE)
    after = tree(store.root)
    ours = [name for name in after if name.startswith(layout.OURS)]
    assert RECEIPT in ours
    assert {name: after[name] for name in after if name not in ours} == before


def test_file_without_its_gzip_is_gzipped(store):
    """What nilearn makes of a `.nii`: no tool can open it under its name."""
    place = bring(store, nifti(), image_json())
    assert store.local_path(FILE) == place
    assert gzip.decompress(place.read_bytes()) == nifti()
    assert nibabel.load(place).shape == (19, 23, 19)
    change(place, bytes(place.stat().st_size))
    assert store.local_path(FILE) == place


REPLACED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from trees import Store, gzipped, image_file
from pathlib import Path
store = Store(Path(sys.argv[1]))
place, opened = store.place(image_file()), 0
def hook(event, args):
    global opened
    if event == "open" and str(args[0]) == str(place):
        opened += 1
        if opened == 2:  # to be gzipped, after a look at what it is
            other = place.with_name("other")
            other.write_bytes(gzipped(1)) if sys.argv[3] == "there" else None
            other.replace(place) if sys.argv[3] == "there" else place.unlink()
sys.addaudithook(hook)
found = store.local_path(image_file())
print(found and opened)
"""


@pytest.mark.parametrize(("now", "opened"), [("there", "3"), ("gone", "None")])
def test_file_that_is_replaced_while_it_is_gzipped(store, run_python, now, opened):
    place = bring(store, nifti(), image_json())
    here = str(Path(__file__).parent)
    done = run_python(REPLACED, str(store.root), here, now)
    assert done.stdout.strip() == opened
    assert place.exists() == (now == "there")
    assert now == "gone" or place.read_bytes() == gzipped(1)


def test_read_only_leaves_a_file_without_its_gzip(store):
    place = bring(store, nifti())
    assert replace(store, read_only=True).local_path(FILE) == place
    assert place.read_bytes() == nifti()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format": 1, "file": 3}'])
def test_damaged_receipt_means_verifying_again(store, content, caplog):
    place = add(store)
    (store.root / RECEIPT).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert store.local_path(FILE) == place
    assert "Passed over" in caplog.text
    assert store.is_current(FILE) is True


CHANGES = [
    {"path": "/media/images/12/m_1.nii.gz"},
    {"file_size": 5},
    {"file_size": None},
    {"modify_date": "2024-06-01T12:00:00+02:00"},
    {"modify_date": None},
]


@pytest.mark.parametrize("change_", CHANGES, ids=str)
@pytest.mark.parametrize("brought", [True, False], ids=["others", "own"])
def test_any_change_of_identity_is_noticed(store, brought, change_):
    if brought:
        bring(store, gzipped(), image_json())
    else:
        add(store)
    assert store.is_current(FILE) is True
    assert store.local_path(FILE)
    assert store.is_current(FILE) is True
    assert store.is_current(replace(FILE, **change_)) is False
    assert store.local_path(replace(FILE, **change_)) == store.place(FILE)


def test_moved_host_is_the_same_file(store):
    add(store)
    assert store.is_current(replace(FILE, host="https://mirror.org")) is True


def test_file_without_any_record_is_of_unknown_identity(store):
    place = bring(store, gzipped())
    assert store.local_path(FILE) == place
    assert store.is_current(FILE) is False
    bring(store, gzipped(), image_json())
    assert store.is_current(FILE) is True


@pytest.mark.parametrize(
    "record", [{"file": "http://neurovault.org/../x.nii.gz"}, {"file": None}]
)
def test_record_without_a_usable_file_tells_nothing(store, record):
    bring(store, gzipped(), image_json(**record))
    assert store.local_path(FILE) is not None
    assert store.is_current(FILE) is False


def test_copied_store_keeps_its_identities(store):
    place = add(store)
    sidecar = store.root / layout.sidecar_path(12, 3)
    sidecar.unlink()
    os.utime(place, ns=(1, 1))
    assert store.is_current(FILE) is False
    assert store.added(FILE) is None
    assert store.local_path(FILE) == place
    assert store.is_current(FILE) is True
    assert store.added(FILE) is not None


def test_file_replaced_by_others_has_the_identity_of_their_record(store):
    add(store)
    newer = image_json(modify_date="2025-01-01T00:00:00+01:00")
    place = bring(store, gzipped(1), newer)
    os.utime(place, ns=(1, 1))
    assert store.local_path(FILE) == place
    assert store.is_current(FILE) is False
    newer_file = image_file(modify_date="2025-01-01T00:00:00+01:00")
    assert store.is_current(newer_file) is True


def test_time_of_download_is_known_for_own_files_only(store):
    before = time.time()
    add(store)
    assert before <= store.added(FILE) <= time.time()
    bring(store, gzipped(1))
    os.utime(store.place(FILE), ns=(1, 1))
    store.local_path(FILE)
    assert store.added(FILE) is None


@pytest.mark.skipif(
    not Path("/proc/self/mem").exists(), reason="needs a file that refuses to be read"
)
def test_file_that_cannot_be_read_is_passed_over(store):
    place = store.place(FILE)
    place.parent.mkdir(parents=True)
    place.symlink_to("/proc/self/mem")
    with pytest.warns(NeuroVaultWarning, match=re.escape(str(place))):
        assert store.local_path(FILE) is None
    assert place.is_symlink()


def test_bytes_that_did_not_reach_the_disk(tmp_path):
    part = tmp_path / "part"
    receipt = writer()(part)
    part.write_bytes(gzipped()[:-1])
    with pytest.raises(CorruptFileError, match="bytes reached the disk; try again"):
        Entry.of_download(FILE, receipt, part.stat())


def test_token_is_in_no_file(store):
    token = Token.parse("ABCDEFGH")
    url = f"{SERVER}/media/images/ABCDEFGH/m.nii.gz"
    about = collection_json(url=f"{SERVER}/collections/ABCDEFGH/")
    private = Image.from_json(image_json(file=url), base_url=SERVER, token=token)
    store.add(private, Collection.from_json(about, token=token), writer())
    contents = [data for data in tree(store.root).values() if data]
    assert len(contents) == 4
    assert not any(b"ABCDEFGH" in data for data in contents)
    assert store.is_current(private.file) is True
