"""One store for nilearn and us: each reads what the other wrote, at any time."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from asking import asked
from nilearn.datasets import neurovault
from peer import point_nilearn
from studies import content, point_us_at, study_archive

import intake_neurovault
from intake_neurovault import NeuroVaultWarning
from intake_neurovault.testing import NeuroVaultServer, Volume

TESTS = Path(__file__).parent
IMAGES = [1000, 1001, 1002, 1003, 1004, 1005]
"""The images of collection 1."""
EVERYTHING = [*IMAGES, *range(2000, 2005), *range(3000, 3004), *range(4000, 4005)]
EVERYTHING += range(6000, 6004)
MEDIA = "^/media/"

Fetch = Callable[..., Any]


@pytest.fixture
def nv(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeuroVaultServer]:
    """Serve the small archive to nilearn and to us."""
    with NeuroVaultServer(study_archive(odd=False)) as running:
        point_nilearn(monkeypatch, running)
        point_us_at(running.url, monkeypatch)
        yield running


@pytest.fixture
def theirs(nv: NeuroVaultServer, data_dir: Path) -> Fetch:
    """nilearn's function, at the store of the test."""
    return fetcher(neurovault.fetch_neurovault_ids, data_dir)


@pytest.fixture
def ours(nv: NeuroVaultServer, data_dir: Path) -> Fetch:
    """Our function, at the same store."""
    return fetcher(intake_neurovault.fetch_neurovault_ids, data_dir)


def fetcher(function: Fetch, data_dir: Path) -> Fetch:
    def fetch(**arguments: Any) -> Any:
        settings = {"data_dir": str(data_dir), "verbose": 0}
        return function(**(settings | arguments))

    return fetch


def files_of(bunch: Any) -> dict[int, bytes]:
    """The bytes of each image of a bunch."""
    both = zip(bunch.images_meta, bunch.images, strict=True)
    return {meta["id"]: Path(path).read_bytes() for meta, path in both}


def as_served(ids: list[int]) -> dict[int, bytes]:
    return {number: content(number) for number in ids}


def voxels(path: str) -> np.ndarray:
    return nibabel.load(path).get_fdata(dtype=np.float32)


def store_of(data_dir: Path) -> Path:
    return data_dir / "neurovault"


def shared_tree(data_dir: Path) -> dict[str, bytes]:
    """What both know of: everything but our own folder."""
    root = store_of(data_dir)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.glob("collection_*/*"))
    }


# ---- one after the other --------------------------------------------------------


def test_nilearn_reads_what_we_wrote(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer
) -> None:
    """Offline and online, by collection and by image, without a request."""
    ours(collection_ids=[1, 2], image_ids=[3001])
    asked(nv)
    ids = [*IMAGES, *range(2000, 2005), 3001]
    for mode in ("offline", "download_new"):
        bunch = theirs(collection_ids=[1, 2], image_ids=[3001], mode=mode)
        assert files_of(bunch) == as_served(ids)
        about = {meta["id"]: meta["name"] for meta in bunch.collections_meta}
        assert about == {1: "Faces and houses", 2: "Finger tapping", 3: "Pain"}
    assert asked(nv) == []


def test_nilearn_finds_what_we_wrote_by_terms(
    ours: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """The records that we write answer nilearn's conditions."""
    ours(collection_ids=[1, 2])
    asked(nv)
    bunch = neurovault.fetch_neurovault(
        data_dir=str(data_dir),
        mode="offline",
        max_images=None,
        image_terms={"name": neurovault.Contains("face")},
        collection_terms={"DOI": "10.5555/a"},
        verbose=0,
    )
    named = [n for n in IMAGES if "face" in nv.archive.images[n]["name"]]
    assert 0 < len(named) < len(IMAGES)
    assert sorted(files_of(bunch)) == named
    assert asked(nv) == []


@pytest.mark.parametrize("mode", ["offline", "download_new"])
def test_nilearn_resamples_what_we_wrote(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, mode: str
) -> None:
    """nilearn makes its files of 3 mm from our originals, and leaves those alone."""
    ours(image_ids=IMAGES[:2])
    asked(nv)
    bunch = theirs(image_ids=IMAGES[:2], resample=True, mode=mode)
    assert [Path(path).name for path in sorted(bunch.images)] == [
        "image_1000_resampled.nii.gz",
        "image_1001_resampled.nii.gz",
    ]
    for path in bunch.images:
        assert np.allclose(nibabel.load(path).affine, neurovault.STD_AFFINE)
    assert files_of(theirs(image_ids=IMAGES[:2])) == as_served(IMAGES[:2])
    assert asked(nv) == []


@pytest.mark.parametrize("mode", ["offline", "download_new"])
def test_nilearn_reads_what_we_resampled(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, mode: str
) -> None:
    """A file of 3 mm that we made is one of nilearn's, also without an original."""
    mine = ours(image_ids=IMAGES[:2], resample=True)
    before = files_of(mine)
    asked(nv)
    bunch = theirs(image_ids=IMAGES[:2], resample=True, mode=mode)
    assert files_of(bunch) == before
    assert sorted(bunch.images) == mine.images
    assert asked(nv) == []


def test_we_read_what_nilearn_wrote(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Offline and online; no file is asked for, and none is changed."""
    theirs(collection_ids=[1, 2], image_ids=[3001])
    before = shared_tree(data_dir)
    asked(nv)
    ids = [3001, *IMAGES, *range(2000, 2005)]
    with pytest.warns(NeuroVaultWarning, match="never listed completely"):
        offline = ours(collection_ids=[1, 2], image_ids=[3001], mode="offline")
    assert asked(nv) == []
    online = ours(collection_ids=[1, 2], image_ids=[3001])
    assert asked(nv, MEDIA) == []
    assert files_of(offline) == files_of(online) == as_served(ids)
    assert list(files_of(online)) == ids
    assert shared_tree(data_dir) == before
    assert offline.images_meta == online.images_meta


def test_we_read_what_nilearn_resampled(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer
) -> None:
    """Where its shape is ours; the original that it threw away is not asked for."""
    (path,) = theirs(image_ids=[1000], resample=True).images
    before = Path(path).read_bytes()
    asked(nv)
    bunch = ours(image_ids=[1000], resample=True)
    assert bunch.images == [path]
    assert Path(path).read_bytes() == before
    assert asked(nv, MEDIA) == []
    assert files_of(ours(image_ids=[1000])) == as_served([1000])
    assert len(asked(nv, MEDIA)) == 1


def test_what_nilearn_resampled_to_another_shape_is_made_anew(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer
) -> None:
    """Maps of nilearn's do not stack if they were not as large before (B18)."""
    nv.archive.add_image(1, Volume("spm3", 3, "motor"), id=1006)
    shapes = {
        voxels(p).shape for p in theirs(image_ids=[1000, 1006], resample=True).images
    }
    assert len(shapes) == 2
    bunch = ours(image_ids=[1000, 1006], resample=True)
    assert {voxels(path).shape for path in bunch.images} == {(61, 73, 61)}
    again = theirs(image_ids=[1000, 1006], resample=True)
    assert files_of(again) == files_of(bunch)


def test_words_are_shared(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Neurosynth's words that one has fetched, the other does not ask for again."""
    words = {"fetch_neurosynth_words": True}
    first = ours(image_ids=IMAGES[:2], **words)
    theirs(image_ids=IMAGES[2:4], **words)
    assert len(asked(nv, "decode")) == 4
    everything = theirs(image_ids=IMAGES[:4], **words)
    again = ours(image_ids=IMAGES[:4], **words)
    assert asked(nv, "decode") == []
    assert list(again.vocabulary) == list(everything.vocabulary)
    order = [meta["id"] for meta in everything.images_meta]
    rows = [order.index(number) for number in IMAGES[:4]]
    assert np.array_equal(everything.word_frequencies[rows], again.word_frequencies)
    assert np.array_equal(first.word_frequencies, again.word_frequencies[:2])


@pytest.mark.parametrize("seed", range(3))
def test_in_turn_each_file_is_fetched_once(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, seed: int
) -> None:
    """Twenty calls of both in any order, also resampled."""
    draw = random.Random(seed)  # noqa: S311 - reproducible, no secret
    wanted = set()
    for _ in range(20):
        ids = draw.sample(EVERYTHING, 4)
        bunch = draw.choice((ours, theirs))(image_ids=ids)
        wanted |= set(ids)
        assert files_of(bunch) == as_served(ids)
    paths = [f"/media/images/{n // 1000}/image_{n}.nii.gz" for n in sorted(wanted)]
    assert asked(nv, MEDIA) == paths
    assert files_of(theirs(image_ids=EVERYTHING, mode="offline")).keys() == wanted


# ---- at the same time -----------------------------------------------------------

TASK = """
import json, random, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import pytest
from peer import point_nilearn
import intake_neurovault
who, url, data_dir = sys.argv[2:5]
ids, options = map(json.loads, sys.argv[5:7])
nilearn = point_nilearn(pytest.MonkeyPatch(), SimpleNamespace(url=url))
module = nilearn if who == "nilearn" else intake_neurovault
random.Random(who).shuffle(ids)
print("ready", flush=True)
sys.stdin.readline()
settings = {"data_dir": data_dir, "verbose": 0, **options}
bunch = module.fetch_neurovault_ids(image_ids=ids, **settings)
print(json.dumps(sorted(meta["id"] for meta in bunch.images_meta)))
"""


def run_together(
    environment: dict[str, str], arguments: list[list[str]]
) -> list[list[int]]:
    """Start interpreters, let them begin at one moment, and gather their answers."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", TASK, str(TESTS), *each],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in arguments
    ]
    for worker in workers:
        assert worker.stdout is not None
        while worker.stdout.readline() != "ready\n":
            assert worker.poll() is None
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    answers = []
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        answers.append(json.loads(out.splitlines()[-1]))
    return answers


@pytest.mark.parametrize("resample", [False, True])
def test_at_the_same_time_everybody_gets_everything(
    nv: NeuroVaultServer,
    data_dir: Path,
    child_environment: dict[str, str],
    resample: bool,
) -> None:
    """nilearn and three of us fetch the same images into one empty store."""
    nv.latency = 0.01
    ids = IMAGES if resample else EVERYTHING
    common = [
        nv.url,
        str(data_dir),
        json.dumps(ids),
        json.dumps({"resample": resample}),
    ]
    answers = run_together(
        child_environment | {"INTAKE_NEUROVAULT_URL": nv.url},
        [[who, *common] for who in ("nilearn", "first", "second", "third")],
    )
    assert answers == [ids] * 4
    for number in ids:
        folder = store_of(data_dir) / f"collection_{number // 1000}"
        record = json.loads((folder / f"image_{number}_metadata.json").read_bytes())
        assert record["id"] == number
        if resample:
            made = folder / f"image_{number}_resampled.nii.gz"
            assert voxels(str(made)).shape == (61, 73, 61)
        else:
            assert (folder / f"image_{number}.nii.gz").read_bytes() == content(number)


# ---- a folder that was moved ----------------------------------------------------


def test_both_go_on_in_a_folder_that_was_moved(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    """Whoever wrote it, and whoever has read it since."""
    ours(image_ids=IMAGES[:3])
    theirs(image_ids=IMAGES[3:])
    theirs(image_ids=IMAGES)  # rewrites every record
    moved = tmp_path / "elsewhere"
    shutil.move(data_dir, moved)
    asked(nv)
    for fetch in (ours, theirs):
        for mode in ("offline", "download_new"):
            bunch = fetch(image_ids=IMAGES, mode=mode, data_dir=str(moved))
            assert sorted(files_of(bunch).items()) == sorted(as_served(IMAGES).items())
            assert all(Path(path).is_relative_to(moved) for path in bunch.images)
    assert asked(nv) == []


def test_nilearn_resamples_in_a_moved_folder_that_we_wrote(
    ours: Fetch, theirs: Fetch, data_dir: Path, tmp_path: Path
) -> None:
    """nilearn's own records then name files where they no longer are (D55)."""
    ours(collection_ids=[1])
    theirs(collection_ids=[2])
    moved = tmp_path / "elsewhere"
    shutil.move(data_dir, moved)
    somewhere = {"data_dir": str(moved), "resample": True, "mode": "offline"}
    bunch = theirs(image_ids=IMAGES[:2], **somewhere)
    assert all(Path(path).is_relative_to(moved) for path in bunch.images)
    with pytest.raises((OSError, ValueError), match="collection_2"):
        theirs(image_ids=[2000], **somewhere)
    (path,) = ours(image_ids=[2000], **somewhere).images
    assert voxels(path).shape == (61, 73, 61)


# ---- what is broken -------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b'{"id": 10', b"<html>"])
@pytest.mark.parametrize("name", ["image_1000_metadata", "collection_metadata"])
def test_a_record_that_stops_nilearn_does_not_stop_us(
    ours: Fetch, theirs: Fetch, data_dir: Path, name: str, damage: bytes
) -> None:
    """And once we have been there, nilearn goes on as well."""
    theirs(image_ids=IMAGES[:2])
    (store_of(data_dir) / "collection_1" / f"{name}.json").write_bytes(damage)
    with pytest.raises(json.JSONDecodeError, match=r"line 1"):
        theirs(image_ids=[2000])
    assert files_of(ours(image_ids=[2000])) == as_served([2000])
    assert files_of(ours(image_ids=IMAGES[:2])) == as_served(IMAGES[:2])
    assert files_of(theirs(image_ids=IMAGES[:2])) == as_served(IMAGES[:2])


def test_an_image_that_nilearn_would_go_on_giving_is_replaced(
    ours: Fetch, theirs: Fetch, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Half a file is half a file for ever to nilearn, until we look at it."""
    theirs(image_ids=[1000])
    path = store_of(data_dir) / "collection_1/image_1000.nii.gz"
    path.write_bytes(content(1000)[:500])
    assert files_of(theirs(image_ids=[1000])) == {1000: content(1000)[:500]}
    with pytest.warns(NeuroVaultWarning, match="image_1000"):
        ours(image_ids=[1000])
    asked(nv)
    assert files_of(theirs(image_ids=[1000])) == as_served([1000])
    assert asked(nv) == []


# ---- the same bytes -------------------------------------------------------------


def test_what_we_write_is_what_nilearn_writes(
    nv: NeuroVaultServer, tmp_path: Path
) -> None:
    """Images, and the records of images and collections, byte for byte.

    nilearn asked for a collection writes absolute paths into the records (D55);
    asked for one image of each collection it writes what we write.
    """
    trees = []
    for module in (neurovault, intake_neurovault):
        data_dir = tmp_path / module.__name__
        data_dir.mkdir()
        for number in (1000, 2000, 3000, 4003, 6000):
            fetch = fetcher(module.fetch_neurovault_ids, data_dir)
            fetch(image_ids=[number])
        trees.append(shared_tree(data_dir))
    assert len(trees[0]) == 15
    assert trees[0] == trees[1]


def test_records_differ_in_paths_and_in_what_nilearn_takes_for_nothing(
    nv: NeuroVaultServer, tmp_path: Path
) -> None:
    """nilearn blanks text that begins like "None" (B11), and forgets fields whose
    name has "absolute" in it (B32)."""
    nv.archive.edit_image(1001, task="None of the above", absolute_pitch=1)
    nv.archive.edit_collection(1, journal_name="Nullius")
    trees = []
    for module in (neurovault, intake_neurovault):
        data_dir = tmp_path / module.__name__
        data_dir.mkdir()
        fetcher(module.fetch_neurovault_ids, data_dir)(collection_ids=[1])
        trees.append(shared_tree(data_dir))
    theirs, ours = trees
    assert theirs.keys() == ours.keys()
    found: Counter[Any] = Counter()
    for name in theirs:
        if name.endswith(".json"):
            both = json.loads(theirs[name]), json.loads(ours[name])
            keys = {*both[0], *both[1]}
            found.update(k for k in keys if both[0].get(k, 0) != both[1].get(k, 0))
        else:
            assert theirs[name] == ours[name]
            assert gzip.decompress(ours[name])
    each = len(IMAGES)
    paths = {"relative_path": each, "resampled_relative_path": each}
    assert found == paths | {"task": 1, "absolute_pitch": 1, "journal_name": 1}
