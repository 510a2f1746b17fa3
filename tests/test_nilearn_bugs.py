"""What goes wrong with ``nilearn.datasets.fetch_neurovault``, and does not here.

Each test is named after what a user sees; its first line says what nilearn 0.14.1
does in the same situation.
"""

from __future__ import annotations

import gzip
import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import intake
import numpy as np
import pandas as pd
import pytest
from asking import asked, many_collections
from peer import point_nilearn
from trees import gzipped, nifti, tree

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    AnswerError,
    ArgumentError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    UnknownArgumentError,
    UnreachableError,
)
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer

FACES = [1000, 1001, 1002, 1003, 1004]
"""The images of collection 1; the first is its only T map."""
EVERYTHING = [*FACES, 2000, 2001, 2002, 3000, 3001]
ALL = {"image_terms": {}, "max_images": None, "errors": "skip"}
"""What is asked for when nothing is to be filtered out."""
MEDIA = "^/media/"

Ask = Callable[..., SearchResult]


def small_archive() -> Archive:
    """Three collections with whole, small maps; like small studies."""
    archive = Archive()
    archive.add_collection("Faces", id=1, DOI="10.5555/a", owner=7)
    archive.add_collection("Motor", id=2, DOI="10.5555/b", owner=8)
    archive.add_collection("Pain", id=3, owner=8)
    for number in EVERYTHING:
        kind = "T map" if number % 1000 == 0 else "Z map"
        archive.add_image(
            number // 1000, gzipped(number), id=number, map_type=kind, task="faces"
        )
    return archive


@pytest.fixture
def nv() -> Iterator[NeuroVaultServer]:
    """Serve the small archive to one test."""
    with NeuroVaultServer(small_archive()) as running:
        yield running


@pytest.fixture
def ask(nv: NeuroVaultServer, data_dir: Path) -> Ask:
    """Ask that server through the public door, once, into an empty store."""

    def query(**arguments: Any) -> SearchResult:
        settings = {"url": nv.url, "data_dir": data_dir, "retries": 0, "grid": 12.0}
        return search(**(settings | arguments))

    return query


@pytest.fixture
def nilearn_fetch(
    nv: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Let nilearn fetch from the same server into the same store."""
    nilearn = point_nilearn(monkeypatch, nv)

    def fetch(**arguments: Any) -> Any:
        settings = {"data_dir": data_dir, "verbose": 0}
        return nilearn.fetch_neurovault_ids(**(settings | arguments))

    return fetch


def store_of(data_dir: Path) -> Path:
    return data_dir / "neurovault"


def file_path(data_dir: Path, image_id: int) -> Path:
    folder = store_of(data_dir) / f"collection_{image_id // 1000}"
    return folder / f"image_{image_id}.nii.gz"


def media_of(*image_ids: int) -> list[str]:
    return [f"/media/images/{i // 1000}/image_{i}.nii.gz" for i in image_ids]


def nilearns_files(data_dir: Path) -> dict[str, tuple[bytes, int]]:
    """The content and the time of change of each file in nilearn's part."""
    root = store_of(data_dir)
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.glob("collection_*/*"))
    }


class EditingServer(NeuroVaultServer):
    """Lets a test change the archive, or an answer, right after one is made."""

    def __init__(self, archive: Archive, change: Callable[..., Any]) -> None:
        super().__init__(archive)
        self._change = change

    def prepare(self, asked: Any) -> Any:
        answer, fault = super().prepare(asked)
        return self._change(self, asked, answer) or answer, fault


# ---- a server with troubles -----------------------------------------------------


@pytest.mark.parametrize(
    # NOTE: behind a 500 may be one record only, and it takes requests to find it.
    ("kind", "most"),
    [("500", 30), ("html", 1), ("short_body", 1)],
)
def test_one_bad_page_does_not_cost_the_other_collections(
    ask: Ask, nv: NeuroVaultServer, kind: Any, most: int
) -> None:
    """Asks for the same page 50 times, then gives up and returns no image at all."""
    nv.faults.append(Fault(match="/api/collections/1/images/", kind=kind))
    result = ask(**ALL)
    assert result.keys() == EVERYTHING[len(FACES) :]
    assert set(result.failures.collection_id) == {1}
    assert len(asked(nv, "/api/collections/1/images/")) <= most


def test_a_collection_whose_files_all_fail_is_given_up(data_dir: Path) -> None:
    """Resets its count of failures at each one, so that its limit never counts."""
    archive = many_collections(1, images=45)
    archive.add_collection("good", id=2)
    archive.add_image(2, gzipped(), id=2000)
    with NeuroVaultServer(archive) as server:
        server.faults.append(Fault(match="/media/images/1/", kind="500"))
        result = search(**ALL, url=server.url, data_dir=data_dir, retries=0, workers=1)
        assert list(result.fetch()) == [2000]
        # Some were already asked for when the thirtieth had failed.
        assert 30 <= len(asked(server, "/media/images/1/")) <= 36
    assert len(result.failures) == 45


@pytest.mark.parametrize("surplus", [1, 300])
def test_a_list_that_promises_more_than_it_has_comes_to_an_end(
    data_dir: Path, surplus: int
) -> None:
    """Asks for the same empty page for ever."""

    def promise(_: Any, asked: Any, answer: Any) -> Any:
        if not asked.path.endswith("/images/"):
            return None
        count = answer.payload["count"] + surplus
        return replace(answer, payload={**answer.payload, "count": count})

    with EditingServer(small_archive(), promise) as server:
        result = search(
            collection_ids=[1], errors="skip", url=server.url, data_dir=data_dir
        )
        assert result.keys() == FACES
        assert len(asked(server, "/images/")) < 10
    assert f"counts {5 + surplus} records" in result.failures.reason[0]


def test_an_image_deleted_while_its_list_is_read_ends_nothing(data_dir: Path) -> None:
    """Asks for the last page for ever once an image is deleted meanwhile."""

    def delete(server: Any, asked: Any, _: Any) -> None:
        if asked.path.endswith("/images/") and 1000 in server.archive.images:
            server.archive.remove_image(1000)

    with EditingServer(many_collections(1, images=250), delete) as server:
        result = search(collection_ids=[1], url=server.url, data_dir=data_dir)
        expected = list(range(1001, 1250))
        assert [image.id for image in result if image.id != 1000] == expected
        assert len(asked(server, "/images/")) < 8


def test_rows_that_move_between_pages_give_no_image_twice(data_dir: Path) -> None:
    """Returns and downloads an image twice when rows move on to the next page."""

    def insert(server: Any, asked: Any, _: Any) -> None:
        if asked.path.endswith("/images/") and 999 not in server.archive.images:
            server.archive.add_image(1, b"", id=999)

    with EditingServer(many_collections(1, images=250), insert) as server:
        result = search(collection_ids=[1], url=server.url, data_dir=data_dir)
        assert result.keys() == list(range(999, 1250))


def test_each_address_may_fail_once(ask: Ask, nv: NeuroVaultServer) -> None:
    """Never asks again: one 502 for each address costs all images."""
    for match in ("/images/?", *media_of(1000, 1003)):
        nv.faults.append(Fault(match=match.replace("?", r"\?"), kind="502", times=1))
    assert list(ask(collection_ids=[1], retries=1).fetch()) == FACES


@pytest.mark.parametrize(
    ("match", "query"),
    [
        ("/api/images/1000/", {"image_ids": [1000]}),
        ("/api/collections/1/$", {"image_ids": [1000]}),
        ("/api/collections/1/images/", {"collection_ids": [1]}),
        ("/api/collections/[?]", {"image_terms": {}, "errors": "raise"}),
        (MEDIA, {"image_ids": [1000]}),
        (MEDIA, {"collection_ids": [1]}),
    ],
)
def test_one_timeout_holds_for_every_request(
    ask: Ask, nv: NeuroVaultServer, match: str, query: Any
) -> None:
    """Forgets the timeout where image ids are given, and for all files."""
    nv.faults.append(Fault(match=match, kind="silent", seconds=5))
    with pytest.raises(UnreachableError, match=r"within 0\.2 s; pass a larger timeout"):
        ask(**query, timeout=0.2).fetch()


def test_a_maintenance_page_is_asked_for_a_few_times_only(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    """Asks a hundred times for the same page."""
    nv.faults.append(Fault(kind="html"))
    everything = ask(**ALL)
    assert everything.keys() == []
    assert len(everything.failures) == 1
    assert "may be under maintenance" in everything.failures.reason[0]
    with pytest.raises(AnswerError, match="may be under maintenance"):
        ask(**ALL | {"errors": "raise"}).keys()
    named = ask(collection_ids=[1, 2, 3], errors="skip")
    assert named.keys() == []
    assert named.failures.id.isna().tolist() == [True] * 3
    assert len(nv.requests) == 5


@pytest.mark.parametrize("kind", ["html", "bad_json", "bit_flip", "truncated_close"])
def test_what_is_no_whole_image_is_not_kept(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, kind: Any
) -> None:
    """Keeps a web page or half a file for ever, and fails when it is opened."""
    nv.faults.append(Fault(match=media_of(1001)[0], kind=kind))
    result = ask(collection_ids=[1], errors="skip")
    assert 1001 not in result.fetch()
    assert result.failures.id.tolist() == [1001]
    assert not file_path(data_dir, 1001).exists()
    nv.faults.clear()
    asked(nv)
    assert list(ask(collection_ids=[1]).fetch()) == FACES
    assert asked(nv) == media_of(1001)
    assert file_path(data_dir, 1001).read_bytes() == nv.file_bytes(1001)


def test_a_failed_overwrite_keeps_the_good_file(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Writes over the good file, and keeps what was there when it was interrupted."""
    ask(image_ids=[1000]).fetch()
    before = tree(file_path(data_dir, 1000).parent)
    nv.faults.append(Fault(match=MEDIA, kind="reset_body"))
    with pytest.raises(UnreachableError, match="Image 1000"):
        ask(image_ids=[1000], mode="overwrite").fetch()
    assert tree(file_path(data_dir, 1000).parent) == before


def test_a_file_that_is_not_gzipped_can_be_read(ask: Ask, nv: NeuroVaultServer) -> None:
    """Saves it as .nii.gz as it is, which nibabel refuses to open."""
    nv.archive.add_image(1, nifti(5), id=1005, filename="plain.nii")
    (path,) = ask(image_ids=[1005]).fetch().values()
    assert gzip.decompress(path.read_bytes()) == nifti(5)
    assert ask(image_ids=[1005]).read().maps.notnull().all()


def test_a_server_that_compresses_for_the_journey_spoils_nothing(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    """Stores the file decompressed under a name that says .gz."""
    nv.faults.append(Fault(match=MEDIA, kind="gzip"))
    (path,) = ask(image_ids=[1000]).fetch().values()
    assert path.read_bytes() == nv.file_bytes(1000)


# ---- partly there is not there --------------------------------------------------


def test_caching_one_image_does_not_hide_its_collection(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    """Takes a collection for complete as soon as one image of it is on disk."""
    ask(image_ids=[1000]).fetch()
    assert list(ask(collection_ids=[1]).fetch()) == FACES
    asked(nv)
    assert list(ask(collection_ids=[1]).fetch()) == FACES
    assert asked(nv) == []


def test_a_filtered_query_does_not_hide_what_it_left_out(ask: Ask) -> None:
    """Gives the T map only, since the collection has been visited."""
    only_t = {"image_terms": {"map_type": "T map"}}
    assert list(ask(collection_ids=[1], **only_t).fetch()) == [1000]
    assert list(ask(collection_ids=[1]).fetch()) == FACES


def test_a_capped_query_followed_by_an_uncapped_one_gives_all(ask: Ask) -> None:
    """Gives the two images of the first query once more."""
    assert list(ask(**(ALL | {"max_images": 2})).fetch()) == FACES[:2]
    assert list(ask(**ALL).fetch()) == EVERYTHING


@pytest.mark.parametrize("explicit", [True, False])
def test_files_that_were_missing_once_are_asked_for_again(
    ask: Ask, nv: NeuroVaultServer, explicit: bool
) -> None:
    """Never tries again what failed once."""
    query = {"collection_ids": [1], "errors": "skip"} if explicit else ALL
    lost = {number: nv.archive.files.pop(media_of(number)[0]) for number in FACES[1:3]}
    first = ask(**query)
    assert set(FACES) - set(first.fetch()) == set(lost)
    assert first.failures.id.tolist() == list(lost)
    nv.archive.files.update({media_of(n)[0]: file for n, file in lost.items()})
    asked(nv)
    assert set(ask(**query).fetch()) >= set(FACES)
    assert asked(nv) == media_of(*lost)


@pytest.mark.parametrize("again", [{"mode": "update"}, {"metadata_ttl": 0}])
def test_an_image_added_later_is_seen(
    ask: Ask, nv: NeuroVaultServer, again: Any
) -> None:
    """Never sees what is added to a collection of which something is on disk."""
    ask(collection_ids=[1]).fetch()
    nv.archive.add_image(1, gzipped(5), id=1005)
    asked(nv)
    assert list(ask(collection_ids=[1], **again).fetch()) == [*FACES, 1005]
    assert asked(nv, MEDIA) == media_of(1005)


def test_other_tools_read_page_one_only_and_we_read_all(data_dir: Path) -> None:
    """Others (NiMARE, narps_open) take the first page, 100 images, for everything."""
    with NeuroVaultServer(many_collections(1, images=450)) as server:
        settings = {"url": server.url, "data_dir": data_dir}
        assert len(search(collection_ids=[1], **settings)) == 450
        fs = fsspec.filesystem("neurovault", url=server.url)
        assert len(fs.glob("collection_1/*.nii.gz")) == 450


def test_processes_that_start_one_after_the_other_all_get_everything(
    nv: NeuroVaultServer, data_dir: Path, run_python: Callable[..., Any]
) -> None:
    """Gives late processes what the early ones have fetched so far, in silence."""
    nv.latency = 0.05
    code = (
        "import multiprocessing, sys\n"
        "from intake_neurovault import SearchResult, search\n"
        "url, data_dir = sys.argv[1:]\n"
        "query = search(\n"
        "    collection_ids=[1, 2, 3], url=url, data_dir=data_dir, workers=2)\n"
        "context = multiprocessing.get_context('forkserver')\n"
        "context.set_forkserver_preload(['intake_neurovault.result'])\n"
        "with context.Pool(8, maxtasksperchild=1) as pool:\n"
        "    found = pool.map(SearchResult.fetch, [query] * 8, chunksize=1)\n"
        "print([sorted(each) for each in found])"
    )
    done = run_python(code, nv.url, str(data_dir))
    assert json.loads(done.stdout) == [EVERYTHING] * 8
    assert set(asked(nv, MEDIA)) == set(media_of(*EVERYTHING))


# ---- what is on disk ------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b'{"id": 10', b"[]", b"<html>"])
@pytest.mark.parametrize("name", ["image_1000_metadata", "collection_metadata"])
@pytest.mark.parametrize("mode", ["download_new", "offline"])
@pytest.mark.filterwarnings("ignore:Offline, only what:UserWarning")
def test_a_broken_record_elsewhere_spoils_no_other_query(
    ask: Ask, data_dir: Path, content: bytes, name: str, mode: str
) -> None:
    """Fails at every call, whatever is asked for, until the file is deleted."""
    ask(image_ids=[1000, 2000]).fetch()
    broken = file_path(data_dir, 1000).with_name(f"{name}.json")
    assert broken.is_file()
    broken.write_bytes(content)
    assert list(ask(image_ids=[2000], mode=mode).fetch()) == [2000]
    assert 2000 in ask(**ALL, mode=mode)


def test_a_folder_without_its_record_loses_no_image(
    ask: Ask, data_dir: Path, nilearn_fetch: Callable[..., Any]
) -> None:
    """Cannot be brought to give an image whose collection has lost its record."""
    nilearn_fetch(image_ids=[1000])
    (file_path(data_dir, 1000).parent / "collection_metadata.json").unlink()
    assert list(ask(image_ids=[1000]).fetch()) == [1000]
    assert list(ask(collection_ids=[1]).fetch()) == FACES


@pytest.mark.parametrize("grid", [12.0, None])
def test_a_deleted_file_with_its_record_left_is_fetched_again(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, grid: Any
) -> None:
    """Raises ValueError for the whole query."""
    ask(image_ids=[1000, 1001]).fetch()
    file_path(data_dir, 1000).unlink()
    offline = ask(image_ids=[1000, 1001], mode="offline", errors="skip")
    assert list(offline.fetch()) == [1001]
    assert "not in the store" in offline.failures.reason[0]
    asked(nv)
    assert ask(image_ids=[1000, 1001], grid=grid).read().maps.notnull().all()
    assert asked(nv, MEDIA) == media_of(1000)


def test_resampled_copies_do_not_hide_the_originals(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, nilearn_fetch: Callable[..., Any]
) -> None:
    """Gives one image where one is there in the original and the rest resampled."""
    nilearn_fetch(image_ids=FACES[:3], resample=True)
    nilearn_fetch(image_ids=FACES[:1])
    folder = file_path(data_dir, 1000).parent
    assert len(list(folder.glob("*_resampled.nii.gz"))) == 3
    assert not file_path(data_dir, 1001).exists()
    paths = ask(collection_ids=[1], grid=None).fetch()
    assert [path.read_bytes() for path in paths.values()] == [
        nv.file_bytes(number) for number in FACES
    ]


def test_a_store_of_an_old_nilearn_can_be_used(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, nilearn_fetch: Callable[..., Any]
) -> None:
    """Raises KeyError, because old records do not name a resampled file."""
    nilearn_fetch(image_ids=[1000])
    sidecar = file_path(data_dir, 1000).with_name("image_1000_metadata.json")
    record = json.loads(sidecar.read_bytes())
    old = {key: record[key] for key in record if not key.startswith("resampled_")}
    assert len(old) < len(record)
    sidecar.write_text(json.dumps(old))
    asked(nv)
    assert ask(image_ids=[1000]).read().maps.notnull().all()
    assert ask(image_ids=[1000], mode="offline").read().maps.notnull().all()
    assert asked(nv) == []


@pytest.mark.parametrize("cut", [0, 200])
def test_a_file_cut_short_on_disk_is_replaced(
    ask: Ask, data_dir: Path, nilearn_fetch: Callable[..., Any], cut: int
) -> None:
    """Serves a file that an interruption cut short for ever."""
    nilearn_fetch(image_ids=[1000])
    path = file_path(data_dir, 1000)
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    offline = ask(image_ids=[1000], mode="offline")
    with (
        pytest.warns(NeuroVaultWarning, match="image_1000"),
        pytest.raises(OfflineError, match="image 1000"),
    ):
        offline.fetch()
    assert path.read_bytes() == whole[:cut]
    with pytest.warns(NeuroVaultWarning, match="image_1000"):
        ask(image_ids=[1000]).fetch()
    assert path.read_bytes() == whole


def test_custom_fields_with_absolute_in_their_name_survive(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    """Drops every field whose name contains "absolute" once it is on disk."""
    nv.archive.edit_image(1000, absolute_pitch=1)
    query = {"image_terms": {"absolute_pitch": 1}, "collection_ids": [1]}
    ask(**query).fetch()
    assert ask(**query, mode="offline").df.absolute_pitch.tolist() == [1]


def test_a_moved_store_goes_on_working(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    """Keeps absolute paths, and looks for files where they no longer are."""
    before = ask(collection_ids=[1]).read()
    moved = tmp_path / "elsewhere"
    shutil.move(data_dir, moved)
    asked(nv)
    for mode in ("download_new", "offline", "update"):
        again = ask(collection_ids=[1], data_dir=moved, mode=mode)
        assert again.read().maps.equals(before.maps)
        assert all(path.is_relative_to(moved) for path in again.fetch().values())
    assert asked(nv, MEDIA) == []


def test_offline_asks_nothing_even_for_words_and_changes_no_file(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, nilearn_fetch: Callable[..., Any]
) -> None:
    """Asks Neurosynth for words in offline mode, and rewrites each record it reads."""
    nilearn_fetch(image_ids=[1000, 1001], fetch_neurosynth_words=True)
    (store_of(data_dir) / "collection_1/neurosynth_words_for_image_1001.json").unlink()
    before = nilearns_files(data_dir)
    asked(nv)
    result = ask(
        image_ids=[1000, 1001],
        mode="offline",
        fetch_neurosynth_words=True,
        words_url=f"{nv.url}/api/decode/",
    )
    with pytest.warns(NeuroVaultWarning, match="Neurosynth"):
        weights = result.to_dask().word_weights.sum("word", skipna=False)
    assert weights.isnull().values.tolist() == [False, True]
    result.fetch()
    assert asked(nv) == []
    assert len(before) == 6
    assert nilearns_files(data_dir) == before


@pytest.mark.parametrize("content", [b"<html>", b"", b'{"data": {"val'])
def test_words_that_are_no_words_are_fetched_again(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, content: bytes
) -> None:
    """Keeps whatever was answered for words, and never asks again."""
    query = {
        "image_ids": [1000],
        "fetch_neurosynth_words": True,
        "words_url": f"{nv.url}/api/decode/",
    }
    ask(**query).fetch()
    first = ask(**query).to_dask().word_weights
    (kept,) = data_dir.rglob("neurosynth_words_for_image_1000.json")
    kept.write_bytes(content)
    asked(nv)
    assert ask(**query).to_dask().word_weights.equals(first)
    assert asked(nv) == ["/api/decode/"]
    assert json.loads(kept.read_bytes())["data"]["values"]


def test_an_answer_that_is_no_words_is_not_kept(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Writes a maintenance page to disk as if it were words."""
    nv.faults.append(Fault(match="decode", kind="html"))
    result = ask(
        image_ids=[1000],
        fetch_neurosynth_words=True,
        words_url=f"{nv.url}/api/decode/",
        errors="skip",
    )
    assert result.to_dask().maps.shape[0] == 1
    assert "web page" in result.failures.reason[0]
    assert list(data_dir.rglob("neurosynth_words*")) == []


# ---- ids and arguments ----------------------------------------------------------


def test_collections_named_by_text_are_found_on_disk(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    """Downloads everything anew at each call, and finds nothing offline."""
    assert list(ask(collection_ids=["1"]).fetch()) == FACES
    asked(nv)
    for mode in ("download_new", "offline"):
        assert list(ask(collection_ids=["1"], mode=mode).fetch()) == FACES
    assert asked(nv) == []


@pytest.mark.parametrize(
    "given",
    ["1000", 1000, 1000.0, np.int64(1000), ["1000"], pd.Series([1000.0]), {1000}],
    ids=repr,
)
def test_one_id_is_one_image_however_it_is_written(ask: Ask, given: Any) -> None:
    """Takes "123" for the images 1, 2 and 3, fails on 123, and drops 123.0."""
    assert ask(image_ids=given).keys() == [1000]


@pytest.mark.parametrize("bad", [1000.5, "faces", -1, True, math.nan, [[1000]]])
def test_what_is_no_id_is_an_error(ask: Ask, bad: Any) -> None:
    """Finds nothing without a word, or fails somewhere in its own code."""
    with pytest.raises(ArgumentError, match="not an id"):
        ask(image_ids=bad)


def test_images_come_in_the_order_asked_and_missing_ones_are_named(ask: Ask) -> None:
    """Changes the order, and leaves out in silence what does not exist."""
    wanted = [2001, 1003, 999_999, 2000, 1001]
    with pytest.raises(MissingError, match="999999"):
        ask(image_ids=wanted).keys()
    result = ask(image_ids=wanted, errors="warn")
    with pytest.warns(NeuroVaultWarning, match="999999"):
        found = list(result.fetch())
    assert found == [2001, 1003, 2000, 1001]
    assert result.failures.id.tolist() == [999_999]


def test_a_collection_that_does_not_exist_is_an_error(ask: Ask) -> None:
    """Gives an empty result, without a word."""
    with pytest.raises(MissingError, match="no collection 77"):
        ask(collection_ids=[77]).keys()


@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_an_id_does_not_switch_other_conditions_off(ask: Ask, mode: str) -> None:
    """Drops the conditions on owner, DOI and name as soon as there is an id."""
    ask(collection_ids=[1]).fetch()
    for other in ({"owner": 99}, {"DOI": "10.5555/zzz"}, {"name": "x"}):
        terms = {"id": 1, **other}
        assert ask(collection_terms=terms, image_terms={}, mode=mode).keys() == []
    right = {"id": 1, "owner": 7, "DOI": "10.5555/a"}
    assert ask(collection_terms=right, image_terms={}, mode=mode).keys() == FACES


@pytest.mark.parametrize("honour", [True, False])
def test_conditions_hold_whatever_the_server_makes_of_them(
    data_dir: Path, honour: bool
) -> None:
    """Believes that the server has filtered, and returns other DOIs if it has not."""
    with NeuroVaultServer(small_archive(), honour_filters=honour) as server:
        result = search(
            collection_terms={"DOI": "10.5555/b"},
            image_terms={},
            url=server.url,
            data_dir=data_dir,
        )
        assert result.keys() == [2000, 2001, 2002]


@pytest.mark.parametrize(
    ("text", "is_null"),
    [
        ("None / Other", True),
        ("n/a", True),
        ("None of the above", False),
        ("Nonexistent", False),
        ("null hypothesis map", False),
        ("nonegative", False),
    ],
)
def test_nothing_is_the_same_nothing_online_and_offline(
    ask: Ask, nv: NeuroVaultServer, text: str, is_null: bool
) -> None:
    """Filters raw text online and cleaned text offline, and cleans away too much."""
    nv.archive.edit_image(1000, task=text)
    query = {"collection_ids": [1], "image_terms": {"task": {"$null": True}}}
    ask(collection_ids=[1]).fetch()
    for mode in ("download_new", "update", "offline"):
        assert ask(**query, mode=mode).keys() == ([1000] if is_null else [])


def test_ids_conditions_and_limits_hold_together(ask: Ask) -> None:
    """Ignores conditions and the limit as soon as collection_ids are given."""
    zmaps = {"map_type": "Z map"}
    result = ask(collection_ids=[1], image_terms=zmaps, max_images=2)
    assert result.keys() == [1001, 1002]


@pytest.mark.parametrize(
    ("name", "hint"), [("map_typ", "image_terms"), ("max_image", "'max_images'")]
)
def test_a_misspelt_argument_is_an_error(
    ask: Ask, nv: NeuroVaultServer, name: str, hint: str
) -> None:
    """Makes a filter of it, looks through all images, and finds none."""
    with pytest.raises(UnknownArgumentError, match=f"{name}.*{hint}"):
        ask(**{name: "Z map"})
    with pytest.raises(UnknownArgumentError, match=f"{name}.*{hint}"):
        intake.open_neurovault(**{name: "Z map"})
    assert nv.requests == []


def test_a_misspelt_field_is_told(ask: Ask) -> None:
    """Finds nothing, without a word."""
    with pytest.warns(NeuroVaultWarning, match="'map_typ'; did you mean 'map_type'"):
        assert ask(collection_ids=[1], image_terms={"map_typ": "Z map"}).keys() == []


@pytest.mark.parametrize(
    ("limit", "number"),
    [
        (2, 2),
        (2.0, 2),
        ("2", 2),
        (np.int64(2), 2),
        (0, 0),
        (None, 10),
        (math.inf, 10),
        (-1, 10),
    ],
    ids=repr,
)
def test_limits_are_understood(ask: Ask, limit: Any, number: int) -> None:
    """Fails on "2"."""
    assert len(ask(**(ALL | {"max_images": limit}))) == number


@pytest.mark.parametrize("limit", [2.5, "many", math.nan, True])
def test_limits_that_are_none_are_errors(ask: Ask, limit: Any) -> None:
    """Ignores a limit of 2.5."""
    with pytest.raises(ArgumentError, match="max_images"):
        ask(max_images=limit)


def test_a_condition_that_fails_names_the_record(ask: Ask) -> None:
    """Ends with a KeyError that does not say at which image."""

    def about(metadata: Any) -> bool:
        return metadata["no_such_field"] > 3

    with pytest.raises(KeyError, match="no_such_field") as caught:
        ask(collection_ids=[1], image_terms=about).keys()
    assert "1000" in "".join(getattr(caught.value, "__notes__", []))


# ---- the same answer, and few requests ------------------------------------------


def test_what_is_on_disk_does_not_change_the_answer(ask: Ask) -> None:
    """Gives other images when some are on disk already."""
    query = ALL | {"max_images": 3}
    cold = ask(**query).keys()
    ask(image_ids=[3001, 2002, 1004]).fetch()
    assert ask(**query).keys() == ask(**query, mode="update").keys() == cold
    assert cold == FACES[:3]


@pytest.mark.parametrize("number", [3, 300])
@pytest.mark.parametrize("given", [2, np.int64(2), "2"], ids=repr)
def test_a_known_collection_costs_the_same_in_a_larger_archive(
    data_dir: Path, number: int, given: Any
) -> None:
    """Looks through the list of all collections for an id that numpy made."""
    with NeuroVaultServer(many_collections(number)) as server:
        settings = {"url": server.url, "data_dir": data_dir}
        assert search(collection_ids=[given], **settings).keys() == [2000, 2001]
        assert asked(server) == ["/api/collections/2/", "/api/collections/2/images/"]
        terms = {"collection_terms": {"id": given}, "image_terms": {}}
        assert search(**terms, **settings, mode="update").keys() == [2000, 2001]
        assert asked(server) == ["/api/collections/2/", "/api/collections/2/images/"]


def test_no_address_has_to_be_redirected(ask: Ask, nv: NeuroVaultServer) -> None:
    """Forgets the slash at the end, so that every record costs two requests."""
    ask(image_ids=[1000, 2000]).fetch()
    ask(collection_ids=[3]).fetch()
    ask(**ALL, mode="update").fetch()
    assert {each.status for each in nv.requests} == {200}
    assert len(nv.requests) > 10


def test_nothing_is_printed_unasked(
    ask: Ask, capfd: pytest.CaptureFixture[str]
) -> None:
    """Prints that it resamples, though it was told to be quiet."""
    ask(collection_ids=[1]).read()
    assert capfd.readouterr() == ("", "")


def test_a_collection_is_described_once(ask: Ask) -> None:
    """Repeats the record of a collection for each of its images."""
    found = ask(collection_ids=[1, 2]).found
    assert sorted(found.collections) == [1, 2]
    assert len(found.images) == 8


def test_records_that_say_nothing_are_counted(ask: Ask, nv: NeuroVaultServer) -> None:
    """Leaves out in silence what was never checked for its template."""
    nv.archive.edit_image(1000, not_mni=None, is_thresholded=None)
    nv.archive.edit_image(1001, not_mni=None)
    result = ask(max_images=None)
    assert result.keys() == EVERYTHING[2:]
    removed = result.explain().set_index("term").removed
    assert removed.filter(like="not_mni").tolist() == [2]
    assert removed.filter(like="is_thresholded").tolist() == [0]
    alone = result.explain().set_index("term").alone
    assert alone.filter(like="is_thresholded").tolist() == [1]
    kept = {"not_mni": {"$in": [False, None]}, "is_thresholded": {"$ne": True}}
    assert ask(image_terms=kept, max_images=None).keys() == EVERYTHING


# ---- what changed on the server -------------------------------------------------


@pytest.fixture
def kept(ask: Ask, nv: NeuroVaultServer) -> Ask:
    """Fetch collection 1, then ask for it again, in another mode by default."""
    ask(collection_ids=[1]).fetch()
    asked(nv)

    def again(**arguments: Any) -> SearchResult:
        return ask(**({"collection_ids": [1], "mode": "update"} | arguments))

    return again


LISTED = ["/api/collections/1/", "/api/collections/1/images/"]
"""What it costs to look whether anything changed."""


def test_an_unchanged_collection_is_only_listed(
    kept: Ask, nv: NeuroVaultServer
) -> None:
    """Has no way to look for changes but to fetch everything anew."""
    assert list(kept().fetch()) == FACES
    assert asked(nv) == LISTED


@pytest.mark.parametrize("longer", [True, False])
def test_a_new_upload_under_the_old_address_is_fetched(
    kept: Ask, nv: NeuroVaultServer, data_dir: Path, longer: bool
) -> None:
    """Never sees it, as long as the old file is on disk."""
    new = gzipped(77) if longer else stamped(gzipped(1001))
    nv.archive.add_file(media_of(1001)[0], new)
    nv.archive.edit_image(1001)
    assert file_path(data_dir, 1001).read_bytes() != new
    kept(mode="download_new").fetch()
    assert asked(nv) == []
    assert list(kept().fetch()) == FACES
    # A file of another length is another one; else its date is asked for first.
    looked = [] if longer else media_of(1001)
    assert asked(nv) == [*LISTED, *looked, *media_of(1001)]
    assert file_path(data_dir, 1001).read_bytes() == new


def stamped(content: bytes) -> bytes:
    """Another gzip file of the same length: the same voxels, packed another time."""
    return content[:4] + b"\1\0\0\0" + content[8:]


def test_a_new_upload_under_a_new_address_is_fetched(
    kept: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Never sees it, as long as the old file is on disk."""
    nv.archive.replace_file(1001, gzipped(77))
    kept().fetch()
    assert asked(nv) == [*LISTED, "/media/images/1/image_1001_1.nii.gz"]
    assert file_path(data_dir, 1001).read_bytes() == gzipped(77)


def test_images_that_swap_their_addresses_are_both_fetched(
    kept: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Never sees it; and an address alone would say that nothing is new."""
    first, second = media_of(1001, 1002)
    nv.archive.edit_image(1001, file=second)
    nv.archive.edit_image(1002, file=first)
    kept().fetch()
    assert asked(nv) == [*LISTED, first, second]
    assert file_path(data_dir, 1001).read_bytes() == gzipped(1002)
    assert file_path(data_dir, 1002).read_bytes() == gzipped(1001)
    kept().fetch()
    assert asked(nv) == LISTED


def test_an_image_deleted_on_the_server_is_no_longer_listed(
    kept: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Goes on giving it, as long as it is on disk."""
    nv.archive.remove_image(1001)
    assert kept(mode="download_new").keys() == FACES
    assert list(kept().fetch()) == [1000, 1002, 1003, 1004]
    assert asked(nv) == LISTED
    with pytest.raises(MissingError, match="no public image 1001"):
        kept(collection_ids=None, image_ids=[1001]).keys()
    assert file_path(data_dir, 1001).read_bytes() == gzipped(1001)


def test_a_corrected_text_is_seen(
    kept: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    """Goes on giving the old text, as long as the image is on disk."""
    nv.archive.edit_image(1001, name="corrected")
    assert "corrected" not in kept(mode="download_new").df.name.tolist()
    result = kept()
    assert result.df.set_index("id").name[1001] == "corrected"
    result.fetch()
    assert set(asked(nv)) <= {*LISTED, *media_of(1001)}
    sidecar = file_path(data_dir, 1001).with_name("image_1001_metadata.json")
    assert json.loads(sidecar.read_bytes())["name"] == "corrected"
    assert "corrected" in kept(mode="offline").df.name.tolist()


def test_an_entry_of_a_catalog_sees_what_changed(
    nv: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    """Knows no catalogs, and in Python would have to be told to fetch all anew."""
    (tmp_path / "maps.yaml").write_text(
        "sources:\n  faces:\n    driver: neurovault\n    args:\n"
        f"      {{collection_ids: [1], url: '{nv.url}', data_dir: '{data_dir}'}}\n"
    )
    entry = intake.open_catalog(str(tmp_path / "maps.yaml")).faces
    assert list(entry.fetch()) == FACES
    nv.archive.add_image(1, gzipped(5), id=1005)
    nv.archive.replace_file(1000, gzipped(78))
    asked(nv)
    assert list(entry(mode="update").fetch()) == [*FACES, 1005]
    changed = ["/media/images/1/image_1000_1.nii.gz", *media_of(1005)]
    assert asked(nv) == [*LISTED, *changed]
