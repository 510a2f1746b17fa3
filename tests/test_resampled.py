"""Resampled files: on one grid, by the rules asked for, and nilearn's to read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from asking import asked
from folders import files_in
from nilearn.image import load_img, resample_img
from peer import point_nilearn
from trees import gzipped

from intake_neurovault import STD_AFFINE, Cache, fetch_neurovault_ids
from intake_neurovault.errors import NeuroVaultWarning, StoreError
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer, Volume

MAPS = [11, 12]
MASK = 13
ALL = [*MAPS, MASK]
SHAPE = (61, 73, 61)

Fetch = Callable[..., Any]


@pytest.fixture
def nv() -> Iterator[NeuroVaultServer]:
    """Serve two maps and a mask on coarse grids."""
    archive = Archive()
    archive.add_collection("Small maps", id=1)
    for number in MAPS:
        archive.add_image(1, gzipped(number), id=number, map_type="Z map")
    parcels = Volume("mni6", 3, kind="parcels")
    archive.add_image(1, parcels, id=MASK, map_type="parcellation")
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.fixture
def fetch(nv: NeuroVaultServer, data_dir: Path) -> Fetch:
    def ask(**arguments: Any) -> Any:
        settings = {
            "url": nv.url,
            "data_dir": data_dir,
            "retries": 0,
            "image_ids": MAPS,
        }
        return fetch_neurovault_ids(**(settings | {"resample": True} | arguments))

    return ask


def values(path: str | Path) -> Any:
    return nibabel.load(path).get_fdata(dtype=np.float32)


def media(server: NeuroVaultServer) -> list[str]:
    return asked(server, "^/media/")


def originals(data_dir: Path) -> list[str]:
    return sorted(path.name for path in data_dir.rglob("image_*[0-9].nii.gz"))


def test_resampled_files_come_without_the_originals(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch()
    for path, meta in zip(bunch.images, bunch.images_meta, strict=True):
        image = nibabel.load(path)
        assert image.shape == SHAPE
        assert np.array_equal(image.affine, STD_AFFINE)
        assert path == meta["resampled_absolute_path"]
        assert Path(path).name == f"image_{meta['id']}_resampled.nii.gz"
        assert not Path(meta["absolute_path"]).exists()
    assert originals(data_dir) == []
    assert len(media(nv)) == 2
    assert not [path for path in data_dir.rglob(".*part*") if path.is_file()]
    again = fetch()
    assert again == bunch
    assert fetch(mode="offline").images == bunch.images
    assert media(nv) == []


def test_originals_come_beside_what_was_resampled(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    resampled = fetch()
    nv.clear_requests()
    bunch = fetch(resample=False)
    assert len(media(nv)) == 2
    assert originals(data_dir) == ["image_11.nii.gz", "image_12.nii.gz"]
    assert bunch.images == [meta["absolute_path"] for meta in bunch.images_meta]
    assert not np.array_equal(nibabel.load(bunch.images[0]).affine, STD_AFFINE)
    before = [Path(path).stat().st_mtime_ns for path in resampled.images]
    assert fetch().images == resampled.images
    assert [Path(path).stat().st_mtime_ns for path in resampled.images] == before


def test_an_original_on_disk_is_resampled_and_not_fetched_again(
    fetch: Fetch, nv: NeuroVaultServer
) -> None:
    first = fetch(resample=False)
    before = [Path(path).stat().st_mtime_ns for path in first.images]
    nv.clear_requests()
    second = fetch()
    assert media(nv) == []
    assert [Path(path).stat().st_mtime_ns for path in first.images] == before
    assert [nibabel.load(path).shape for path in second.images] == [SHAPE] * 2


@pytest.mark.parametrize("method", ["continuous", "linear", "nearest"])
@pytest.mark.parametrize("kept", [True, False])
def test_each_interpolation_is_honoured_whatever_was_made_before(
    fetch: Fetch, *, kept: bool, method: str
) -> None:
    original = fetch(resample=False, data_dir=None).images[0]
    fetch(resample=not kept)
    for before in ("continuous", "linear", "nearest"):
        fetch(interpolation=before)
        found = values(fetch(interpolation=method).images[0])
        expected = resample_img(
            load_img(original),
            target_affine=STD_AFFINE,
            target_shape=SHAPE,
            interpolation=method,
        ).get_fdata()
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_labels_stay_labels(fetch: Fetch) -> None:
    original = set(np.unique(values(fetch(image_ids=MASK, resample=False).images[0])))
    assert set(np.unique(values(fetch(image_ids=MASK).images[0]))) <= original | {0}
    mixed = values(fetch(image_ids=MASK, interpolation="continuous").images[0])
    assert len(np.unique(mixed)) > 2 * len(original)


def test_nilearn_reads_what_was_resampled(
    fetch: Fetch,
    nv: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bunch = fetch()
    nilearn = point_nilearn(monkeypatch, nv)
    moved = tmp_path / "moved"
    shutil.copytree(data_dir, moved)
    nv.clear_requests()
    for mode in ("offline", "download_new"):
        theirs = nilearn.fetch_neurovault_ids(
            image_ids=MAPS, resample=True, mode=mode, data_dir=data_dir, verbose=0
        )
        assert sorted(theirs.images) == sorted(bunch.images)
    assert asked(nv) == []
    shutil.rmtree(data_dir)
    assert [Path(path).is_file() for path in fetch(data_dir=moved).images] == [True] * 2


def test_a_copy_of_the_store_is_as_good(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    """A copy does not keep the times of last change."""
    bunch = fetch(interpolation="linear")
    copied = tmp_path / "copied"
    shutil.copytree(data_dir, copied, copy_function=shutil.copyfile)
    nv.clear_requests()
    for _ in range(2):
        again = fetch(interpolation="linear", data_dir=copied)
        assert media(nv) == []
        for path, other in zip(again.images, bunch.images, strict=True):
            assert Path(path).read_bytes() == Path(other).read_bytes()


@pytest.mark.parametrize("method", ["continuous", "linear"])
def test_without_its_note_a_file_says_itself_how_it_was_made(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, method: str
) -> None:
    bunch = fetch(interpolation=method)
    before = Path(bunch.images[0]).read_bytes()
    shutil.rmtree(data_dir / "neurovault" / ".intake_neurovault")
    nv.clear_requests()
    again = fetch()
    if method == "continuous":
        assert media(nv) == []
        assert Path(again.images[0]).read_bytes() == before
    else:
        assert len(media(nv)) == 2
        assert Path(again.images[0]).read_bytes() != before


@pytest.mark.parametrize("content", [b'{"format": 1}', b'{"format": 9}', b"", b"[]"])
def test_a_note_that_is_none_is_passed_over(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, content: bytes
) -> None:
    before = values(fetch(image_ids=11, interpolation="linear").images[0])
    (note,) = data_dir.rglob("image_11_resampled.json")
    note.write_bytes(content)
    nv.clear_requests()
    again = values(fetch(image_ids=11, interpolation="linear").images[0])
    assert len(media(nv)) == 1
    np.testing.assert_array_equal(again, before)


def test_what_lies_on_another_lattice_is_not_taken_over(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    path = Path(fetch(image_ids=11).images[0])
    expected = values(path)
    shutil.rmtree(data_dir / "neurovault" / ".intake_neurovault")
    path.write_bytes(gzipped(96))
    np.testing.assert_array_equal(values(fetch(image_ids=11).images[0]), expected)


def test_housekeeping_leaves_copies_without_an_original(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch(interpolation="linear")
    fetch(image_ids=MAPS[0], resample=False)
    cache = Cache.parse(data_dir)
    assert cache.clear(derived=True).removed == 2
    assert [Path(path).exists() for path in bunch.images] == [False, True]
    nv.clear_requests()
    assert fetch(interpolation="linear").images == bunch.images
    assert media(nv) == []
    cache.clear(collection_ids=1)
    assert files_in(data_dir) <= {"neurovault/.intake_neurovault/listings"}


def test_what_nilearn_resampled_is_taken_over(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nilearn = point_nilearn(monkeypatch, nv)
    theirs = nilearn.fetch_neurovault_ids(
        image_ids=MAPS, resample=True, data_dir=data_dir, verbose=0
    )
    shapes = {nibabel.load(path).shape for path in theirs.images}
    assert shapes != {SHAPE}
    reference = fetch(data_dir=data_dir / "elsewhere")
    nv.clear_requests()
    offline = fetch(mode="offline")
    ours = fetch()
    assert media(nv) == []
    assert [nibabel.load(path).shape for path in theirs.images] == [SHAPE] * 2
    for path, there, expected in zip(
        ours.images, offline.images, reference.images, strict=True
    ):
        np.testing.assert_allclose(values(path), values(expected), atol=1e-5)
        np.testing.assert_array_equal(values(path), values(there))


def test_what_nilearn_resampled_does_not_pass_for_another_interpolation(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nilearn = point_nilearn(monkeypatch, nv)
    nilearn.fetch_neurovault_ids(
        image_ids=MAPS, resample=True, data_dir=data_dir, verbose=0
    )
    expected = fetch(data_dir=data_dir / "elsewhere", interpolation="nearest")
    nv.clear_requests()
    found = fetch(interpolation="nearest")
    assert len(media(nv)) == 2
    np.testing.assert_array_equal(values(found.images[0]), values(expected.images[0]))


def test_half_a_file_of_nilearns_is_made_anew(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nilearn = point_nilearn(monkeypatch, nv)
    theirs = nilearn.fetch_neurovault_ids(
        image_ids=MAPS[:1], resample=True, data_dir=data_dir, verbose=0
    )
    path = Path(theirs.images[0])
    path.write_bytes(path.read_bytes()[:5000])
    assert fetch(image_ids=MAPS[:1]).images == [str(path)]
    assert nibabel.load(path).get_fdata().shape == SHAPE


def test_offline_nothing_of_nilearns_is_changed(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    fetch(resample=False)
    tree = data_dir / "neurovault"
    before = {path: path.stat().st_mtime_ns for path in tree.glob("collection_*/*")}
    nv.clear_requests()
    bunch = fetch(mode="offline")
    assert [nibabel.load(path).shape for path in bunch.images] == [SHAPE] * 2
    assert bunch.images == [m["resampled_absolute_path"] for m in bunch.images_meta]
    after = {path: path.stat().st_mtime_ns for path in tree.glob("collection_*/*")}
    assert after == before
    assert fetch(mode="offline").images == bunch.images
    assert asked(nv) == []


def test_offline_without_any_file_says_so(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    fetch(interpolation="linear")
    with pytest.warns(NeuroVaultWarning, match="resampled by the same rules is in"):
        assert fetch(mode="offline", interpolation="nearest").images == []


def test_a_new_file_on_the_server_is_resampled_anew(
    fetch: Fetch, nv: NeuroVaultServer
) -> None:
    old = values(fetch().images[0])
    nv.archive.replace_file(11, gzipped(99))
    np.testing.assert_array_equal(values(fetch().images[0]), old)
    for mode in ("update", "overwrite"):
        new = values(fetch(mode=mode).images[0])
        assert not np.array_equal(new, old)
    nv.clear_requests()
    fetch(mode="update")
    assert media(nv) == []


def test_overwriting_refreshes_the_record_too(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    fetch()
    (record,) = data_dir.rglob("image_11_metadata.json")
    nv.archive.edit_image(11, name="renamed")
    fetch()
    assert json.loads(record.read_bytes())["name"] != "renamed"
    assert fetch(mode="overwrite").images_meta[0]["name"] == "renamed"
    assert json.loads(record.read_bytes())["name"] == "renamed"


def test_the_map_of_another_server_does_not_pass_for_ours(
    fetch: Fetch, nv: NeuroVaultServer
) -> None:
    theirs = values(fetch(image_ids=11).images[0])
    archive = Archive()
    archive.add_collection("Other maps", id=1)
    archive.add_image(1, gzipped(97), id=11)
    with NeuroVaultServer(archive) as other:
        ours = values(fetch(image_ids=11, url=other.url).images[0])
    assert not np.array_equal(ours, theirs)


def test_a_record_that_a_crash_left_out_is_written_later(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch()
    (record,) = data_dir.rglob("image_11_metadata.json")
    before = record.read_bytes()
    record.unlink()
    nv.clear_requests()
    assert fetch().images == bunch.images
    assert record.read_bytes() == before
    assert media(nv) == []


def test_a_changed_original_is_resampled_anew(
    fetch: Fetch, nv: NeuroVaultServer
) -> None:
    original = Path(fetch(resample=False).images[0])
    old = values(fetch().images[0])
    original.write_bytes(gzipped(98))
    assert not np.array_equal(values(fetch().images[0]), old)


def test_a_failed_download_leaves_nothing_behind(
    fetch: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    nv.faults.append(Fault(match="/media/.*11", kind="html"))
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched"):
        bunch = fetch()
    assert [meta["id"] for meta in bunch.images_meta] == [12]
    assert not list(data_dir.rglob("*image_11*"))


def test_the_note_tells_how_a_file_was_made(fetch: Fetch, data_dir: Path) -> None:
    fetch(image_ids=MAPS[0], interpolation="linear")
    (path,) = data_dir.rglob("image_11_resampled.json")
    note = json.loads(path.read_bytes())
    assert json.loads(note["rules"]) == {
        "grid": "mni152-3mm",
        "interpolation": "linear",
        "nan": "keep",
        "fill_value": "0.0",
    }
    assert len(note["sha256"]) == 64


def test_a_folder_that_cannot_be_written_is_an_error(
    nv: NeuroVaultServer, fetch: Fetch, data_dir: Path
) -> None:
    fetch(resample=False)
    place = data_dir / "neurovault" / "collection_1" / "image_11_resampled.nii.gz"
    place.mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        fetch(image_ids=MAPS[0])
    place.rmdir()
    assert fetch(image_ids=MAPS[0]).images == [str(place)]
