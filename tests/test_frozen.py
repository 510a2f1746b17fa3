"""Frozen queries against a server that changes, goes away, and comes back."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import intake
import nibabel
import numpy as np
import pandas as pd
import pytest
from asking import SECRET, asked, kept_texts
from dask.base import tokenize
from studies import content, study_archive

from intake_neurovault import Cache, SearchResult, search
from intake_neurovault.atomic import is_temporary
from intake_neurovault.errors import (
    ArgumentError,
    ChangedError,
    EmptyResultError,
    FilterError,
    LockError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    UnreachableError,
)
from intake_neurovault.query import Query
from intake_neurovault.testing import Archive, NeuroVaultServer

HOME = 2
"""A collection of five small images."""

IDS = [2000, 2001, 2002, 2003, 2004]
SAME, UPLOADED, DELETED, EDITED = IDS[:4]
GONE = [UPLOADED, DELETED]

Ask = Callable[..., SearchResult]


@pytest.fixture
def archive() -> Archive:
    return study_archive(odd=False)


@pytest.fixture
def served(archive: Archive) -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.fixture
def ask(served: NeuroVaultServer, data_dir: Path) -> Ask:
    """Ask the server, through one store unless another is named."""

    def asking(**arguments: Any) -> SearchResult:
        settings = {"url": served.url, "data_dir": data_dir, "retries": 0}
        return search(**(settings | arguments))

    return asking


@pytest.fixture
def catalog(ask: Ask, tmp_path: Path) -> Path:
    return ask(collection_ids=[HOME]).freeze(tmp_path / "cat" / "maps.yaml")


@pytest.fixture
def lock(catalog: Path) -> Path:
    return catalog.with_suffix(".lock.json")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A store that has nothing yet."""
    return tmp_path / "elsewhere"


def change(archive: Archive) -> int:
    """What happens to an archive in some years; the id of the new image."""
    archive.replace_file(UPLOADED, content(9))
    archive.remove_image(DELETED)
    archive.edit_image(EDITED, name="renamed", age=99.0)
    return archive.add_image(HOME, content(8), name="brand new")


def bytes_of(result: SearchResult) -> dict[int, bytes]:
    return {number: path.read_bytes() for number, path in result.fetch().items()}


def original(*numbers: int) -> dict[int, bytes]:
    return {number: content(number) for number in numbers}


# ---- the same years later ----------------------------------------------------------


def test_the_same_from_the_store_without_a_request(
    ask: Ask, served: NeuroVaultServer, catalog: Path
) -> None:
    live = ask(collection_ids=[HOME])
    table, cube = live.df, live.read()
    served.clear_requests()
    source = intake.open_catalog(str(catalog)).maps
    pd.testing.assert_frame_equal(source.df, table)
    assert source.keys() == IDS
    assert source.read().maps.identical(cube.maps)
    assert source.fetch() == live.fetch()
    assert source.result.missing() == []
    assert asked(served) == []
    assert repr(source.result) == "<SearchResult: 5 images, frozen {}; {}>".format(
        source.result.vault.lock.day, "collections 2"
    )


@pytest.mark.parametrize("mode", ["download_new", "update", "overwrite", "offline"])
def test_no_mode_replaces_what_is_frozen(
    ask: Ask, served: NeuroVaultServer, archive: Archive, lock: Path, mode: str
) -> None:
    change(archive)
    served.clear_requests()
    frozen = ask(frozen=lock, mode=mode)
    assert bytes_of(frozen) == original(*IDS)
    assert frozen.read().maps.notnull().all()
    assert frozen.df.name.tolist() != ["renamed"]
    assert asked(served) == []


def test_without_any_server(ask: Ask, served: NeuroVaultServer, catalog: Path) -> None:
    table = ask(collection_ids=[HOME]).df
    served.__exit__(None, None, None)
    source = intake.open_catalog(str(catalog)).maps
    pd.testing.assert_frame_equal(source.df, table)
    assert bytes_of(source.result) == original(*IDS)
    offline = source(mode="offline")
    assert bytes_of(offline.result) == original(*IDS)


def test_on_another_machine(
    ask: Ask, served: NeuroVaultServer, lock: Path, elsewhere: Path
) -> None:
    frozen = ask(frozen=lock, data_dir=elsewhere)
    assert frozen.missing() == IDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bytes_of(frozen) == original(*IDS)
    assert frozen.missing() == []
    served.clear_requests()
    # What was fetched is nilearn's, as any download.
    live = ask(image_ids=IDS, data_dir=elsewhere)
    assert live.fetch() == frozen.fetch()
    assert asked(served) == []


def test_the_cube_fetches_what_it_needs(
    ask: Ask, served: NeuroVaultServer, lock: Path, elsewhere: Path
) -> None:
    served.clear_requests()
    frozen = ask(frozen=lock, data_dir=elsewhere)
    one = frozen.to_dask().maps.sel(image=EDITED).values
    assert len(asked(served, r"^/media/")) == 1
    assert frozen.missing() == [n for n in IDS if n != EDITED]
    np.testing.assert_array_equal(one, ask(image_ids=[EDITED]).read().maps[0])


# ---- the server has changed --------------------------------------------------------


def test_each_change_is_named(ask: Ask, archive: Archive, lock: Path) -> None:
    frozen = ask(frozen=lock)
    assert frozen.changes().empty
    new = change(archive)
    table = frozen.changes()
    assert table[["id", "what"]].values.tolist() == [
        [UPLOADED, "re-uploaded"],
        [DELETED, "deleted"],
        [EDITED, "edited"],
        [new, "added"],
    ]
    assert table.collection_id.tolist() == [HOME] * 4
    rows = table.set_index("id")
    assert rows.before[UPLOADED].startswith("image_2001.nii.gz, ")
    assert rows.now[UPLOADED].startswith("image_2001_1.nii.gz, ")
    assert rows.now[EDITED] == "name: renamed; age: 99.0"
    assert rows.now[new] == "brand new"
    assert rows.advice.str.startswith("Nothing: ").all()


def test_advice_where_the_bytes_are_gone(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    change(archive)
    rows = ask(frozen=lock, data_dir=elsewhere).changes().set_index("id")
    for number in GONE:
        assert "neither in the store nor on the server" in rows.advice[number]
    assert rows.advice[EDITED].startswith("Nothing: the frozen record is served")


LOOKS: dict[str, Callable[[SearchResult], Any]] = {
    "fetch": lambda result: result.fetch(),
    "to_dask": lambda result: result.to_dask(),
    "to_datatree": lambda result: result.to_datatree(),
    "to_matrix": lambda result: result.to_matrix(),
    "read": lambda result: result.read(),
    "read_partition": lambda result: result.read_partition(IDS.index(UPLOADED)),
    "read_chunked": lambda result: list(result.read_chunked()),
    "to_bunch": lambda result: result.to_bunch(resample=True),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_one_error_lists_all(
    ask: Ask,
    archive: Archive,
    lock: Path,
    elsewhere: Path,
    look: Callable[[SearchResult], Any],
) -> None:
    new = change(archive)
    frozen = ask(frozen=lock, data_dir=elsewhere)
    assert len(frozen.df) == len(IDS)
    with warnings.catch_warnings():
        # Images before the first that is gone may be served, one of them edited.
        warnings.simplefilter("ignore", NeuroVaultWarning)
        with pytest.raises(
            ChangedError, match=r"^[12] of 5 images frozen on"
        ) as caught:
            look(frozen)
    text = str(caught.value)
    assert f"image {UPLOADED} (collection 2) was re-uploaded: image_2001.nii" in text
    assert f"image {DELETED} (collection 2) was deleted" in text
    assert f"image {EDITED} (collection 2) was edited: name: " in text
    assert f"image {new} (collection 2) is new: brand new" in text
    assert "Pass errors='warn'" in text
    assert "result.thaw().freeze(path, overwrite=True)" in text
    assert isinstance(caught.value, FileNotFoundError)


def test_the_rest_is_served(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    change(archive)
    frozen = ask(frozen=lock, data_dir=elsewhere, errors="warn")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = bytes_of(frozen)
    texts = [str(each.message) for each in said]
    assert [text[:20] for text in texts] == [
        "2 of 5 images frozen",
        "2 things could not b",
    ]
    assert "What is gone is left out of files, and NaN in cubes." in texts[0]
    assert found == original(*(n for n in IDS if n not in GONE))
    reasons = frozen.failures.set_index("id").reason
    assert reasons.index.tolist() == GONE
    assert "another one was uploaded in its place" in reasons[UPLOADED]
    assert "it was deleted on the server" in reasons[DELETED]
    with pytest.warns(NeuroVaultWarning, match=r"^2 of 5 images frozen on"):
        cube = frozen.to_dask()
    with pytest.warns(NeuroVaultWarning, match=r"2 things could not be fetched, and l"):
        maps = cube.maps.compute()
    empty = maps.isnull().all(("x", "y", "z"))
    assert maps.image[empty].values.tolist() == GONE
    assert frozen.missing() == GONE


def test_damaged_bytes_of_what_is_frozen_are_told_and_come_back(
    ask: Ask, served: NeuroVaultServer, data_dir: Path, lock: Path
) -> None:
    frozen = ask(frozen=lock)
    frozen.fetch()
    cache = Cache.parse(data_dir=data_dir)
    assert cache.verify().findings == ()
    (kept,) = data_dir.rglob(f"frozen/*/image_{SAME}_*.nii.gz")
    held = kept.read_bytes()
    # A file of its own, so that the image in nilearn's tree stays whole.
    kept.unlink()
    kept.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    (found,) = cache.verify().findings
    assert (found.problem, found.kind, found.image_id) == ("damaged", "frozen", SAME)
    assert "using that query downloads them again" in found.reason
    assert not kept.exists()
    assert (data_dir / "neurovault" / str(found.moved_to)).read_bytes() != held
    assert bytes_of(frozen) == original(*IDS)
    assert cache.verify().findings == ()


def test_a_young_list_does_not_hide_what_changed(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    assert len(ask(collection_ids=[HOME], data_dir=elsewhere)) == len(IDS)
    change(archive)
    frozen = ask(frozen=lock, data_dir=elsewhere)
    with pytest.raises(ChangedError, match=r"^2 of 5 images frozen on"):
        frozen.to_dask()


def test_a_list_is_asked_for_once(
    ask: Ask, served: NeuroVaultServer, lock: Path, elsewhere: Path
) -> None:
    served.clear_requests()
    maps = list(ask(frozen=lock, data_dir=elsewhere).read_chunked())
    assert len(maps) == len(IDS)
    assert len(asked(served, r"/collections/2/images/$")) == 1


def test_what_changes_after_the_cube_was_made(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    cube = ask(frozen=lock, data_dir=elsewhere, chunks=1).to_dask()
    change(archive)
    with pytest.raises(ChangedError, match=r"image 2001 .*\.changes\(\) lists all tha"):
        cube.maps.sel(image=UPLOADED).compute()
    assert cube.maps.sel(image=EDITED).compute().notnull().any()


def test_a_query_by_terms_is_looked_up_by_ids(
    ask: Ask, archive: Archive, tmp_path: Path, elsewhere: Path
) -> None:
    terms = {"name": {"$contains": "map"}, "collection_id": [1, HOME]}
    path = ask(image_terms=terms).freeze(tmp_path / "a.yaml")
    frozen = ask(frozen=path.with_suffix(".lock.json"), data_dir=elsewhere)
    assert frozen.changes().empty
    archive.remove_image(frozen.keys()[0])
    with pytest.raises(ChangedError, match=rf"^1 of {len(frozen)} images frozen on"):
        frozen.fetch()
    archive.edit_image(frozen.keys()[1], name="out of reach of the terms")
    table = frozen.changes()
    assert table.what.tolist() == ["deleted", "edited"]
    assert table.id.tolist() == frozen.keys()[:2]


def test_skipping_is_silent(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    change(archive)
    frozen = ask(frozen=lock, data_dir=elsewhere, errors="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(frozen.fetch()) == [n for n in IDS if n not in GONE]
    assert frozen.failures.id.tolist() == GONE


def test_an_edited_record_is_named_and_not_served(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    before = ask(frozen=lock).df
    archive.edit_image(EDITED, name="renamed")
    archive.edit_collection(HOME, name="another title")
    frozen = ask(frozen=lock, data_dir=elsewhere)
    with pytest.warns(NeuroVaultWarning, match=r"was edited: .*renamed") as said:
        assert bytes_of(frozen) == original(*IDS)
    assert "collection 2 was edited: name: Finger tapping → " in str(said[0].message)
    pd.testing.assert_frame_equal(frozen.df, before)


def test_the_same_bytes_at_another_address(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    archive.replace_file(UPLOADED, content(UPLOADED))
    frozen = ask(frozen=lock, data_dir=elsewhere)
    (row,) = frozen.changes().itertuples()
    assert (row.what, "seen when they are fetched" in row.advice) == (
        "re-uploaded",
        True,
    )
    assert bytes_of(frozen) == original(*IDS)


def test_other_bytes_of_the_same_name_and_size(
    ask: Ask, archive: Archive, tmp_path: Path, elsewhere: Path
) -> None:
    for number, filling in ((1, 7), (2, 8)):
        archive.add_image(5, stored(filling), id=5000 + number)
    path = ask(image_ids=[5001]).freeze(tmp_path / "one.yaml")
    archive.replace_file(5001, stored(6))
    archive.replace_file(5001, stored(5))
    lock = path.with_suffix(".lock.json")
    frozen = ask(frozen=lock, data_dir=elsewhere)
    with pytest.raises(ChangedError, match=r"image 5001 \(collection 5\) was re-uploa"):
        frozen.read()
    assert bytes_of(ask(frozen=lock)) == {5001: stored(7)}


def stored(filling: int) -> bytes:
    """A map whose file is as long as that of any other filling."""
    plain = bytearray(gzip.decompress(content(1)))
    plain[-4:] = np.float32(filling).tobytes()
    return gzip.compress(bytes(plain), 0, mtime=0)


def test_a_collection_that_became_private(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    archive.tokens[HOME] = SECRET
    archive.collections[HOME]["private"] = True
    frozen = ask(frozen=lock, data_dir=elsewhere)
    assert set(frozen.changes().what) == {"made private"}
    with pytest.raises(ChangedError, match=r"image 2000 \(collection 2\) was made pri"):
        frozen.fetch()
    assert bytes_of(ask(frozen=lock)) == original(*IDS)


def test_a_file_that_the_server_lost(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    path = archive.images[SAME]["file"]
    archive.files[path] = replace(archive.files[path], content=None)
    frozen = ask(frozen=lock, data_dir=elsewhere)
    with pytest.raises(ChangedError, match=r"image 2000 \(collection 2\) was lost\n"):
        frozen.fetch()


def test_accepting_the_changes(
    ask: Ask, archive: Archive, catalog: Path, lock: Path
) -> None:
    new = change(archive)
    thawed = intake.open_catalog(str(catalog)).maps.thaw()
    assert thawed.to_arguments()["mode"] == "update"
    assert search(**thawed.to_arguments()) == thawed
    assert thawed.keys() == [SAME, UPLOADED, EDITED, IDS[4], new]
    thawed.freeze(catalog, overwrite=True)
    again = ask(frozen=lock)
    assert again.changes().empty
    assert bytes_of(again)[UPLOADED] == content(9)
    assert again.df.set_index("id").name[EDITED] == "renamed"


# ---- what else happens to the store ------------------------------------------------


def test_a_live_update_takes_nothing_away(
    ask: Ask, archive: Archive, served: NeuroVaultServer, lock: Path
) -> None:
    before = ask(frozen=lock).read()
    change(archive)
    live = ask(collection_ids=[HOME], mode="update")
    assert bytes_of(live)[UPLOADED] == content(9)
    after = live.read().maps.sel(image=UPLOADED)
    served.clear_requests()
    for mode in ("download_new", "offline"):
        frozen = ask(frozen=lock, mode=mode)
        assert bytes_of(frozen) == original(*IDS)
        assert frozen.read().maps.identical(before.maps)
        assert not frozen.read().maps.sel(image=UPLOADED).equals(after)
    assert asked(served) == []
    assert live.read().maps.sel(image=UPLOADED).identical(after)
    assert bytes_of(live)[UPLOADED] == content(9)


def test_kept_maps_on_the_grid_do_for_what_is_gone(
    ask: Ask, archive: Archive, lock: Path, data_dir: Path
) -> None:
    cube = ask(frozen=lock).read()
    change(archive)
    for path in data_dir.rglob(f"image_{UPLOADED}*.nii.gz"):
        path.unlink()
    for mode in ("download_new", "offline"):
        assert ask(frozen=lock, mode=mode).read().maps.identical(cube.maps)
    with pytest.raises(
        OfflineError, match=r"^1 of 5 images .*: 2001; run once without"
    ):
        ask(frozen=lock, mode="offline").fetch()


def test_another_file_in_the_place_of_a_frozen_one(
    ask: Ask, data_dir: Path, lock: Path, elsewhere: Path
) -> None:
    place = ask(frozen=lock).fetch()[SAME]
    other = ask(image_ids=[1000]).fetch()[1000].read_bytes()
    shutil.copytree(data_dir, elsewhere)
    there = elsewhere / place.relative_to(data_dir)
    for path in elsewhere.rglob(f"frozen/**/image_{SAME}_*"):
        path.unlink()
    there.unlink()
    there.write_bytes(other)
    offline = ask(frozen=lock, data_dir=elsewhere, mode="offline")
    assert offline.missing() == [SAME]
    with pytest.raises(
        OfflineError, match=r"^1 of 5 images .* with the bytes that the"
    ):
        offline.fetch()
    quiet = ask(frozen=lock, data_dir=elsewhere, mode="offline", errors="skip")
    assert SAME not in quiet.fetch()
    assert "is another one than that which was frozen" in quiet.failures.reason[0]
    frozen = ask(frozen=lock, data_dir=elsewhere)
    assert bytes_of(frozen) == original(*IDS)
    assert there.read_bytes() == other


def test_a_copy_that_was_damaged_is_fetched_again(
    ask: Ask, archive: Archive, data_dir: Path, lock: Path, elsewhere: Path
) -> None:
    shutil.copytree(data_dir, elsewhere)
    archive.replace_file(SAME, content(9))
    ask(image_ids=[SAME], mode="update", data_dir=elsewhere).fetch()
    archive.replace_file(SAME, content(SAME))
    (copy,) = elsewhere.rglob(f"frozen/**/image_{SAME}_*")
    damaged = bytearray(copy.read_bytes())
    damaged[100] ^= 1
    copy.unlink()
    copy.write_bytes(damaged)
    frozen = ask(frozen=lock, data_dir=elsewhere)
    assert bytes_of(frozen) == original(*IDS)
    assert copy.read_bytes() == content(SAME)


def test_what_is_frozen_takes_no_room(ask: Ask, data_dir: Path, lock: Path) -> None:
    ours = sorted(data_dir.rglob("frozen/**/*.nii.gz"))
    assert len(ours) == len(IDS)
    assert {path.stat().st_nlink for path in ours} == {2}
    assert ask(frozen=lock).fetch().keys() == set(IDS)


def test_where_there_is_no_room_for_second_names(
    ask: Ask, data_dir: Path, lock: Path
) -> None:
    folder = next(data_dir.rglob("frozen"))
    shutil.rmtree(folder)
    folder.write_text("in the way")
    assert bytes_of(ask(frozen=lock)) == original(*IDS)


def test_nilearns_resampled_files_are_of_what_was_frozen(
    ask: Ask, archive: Archive, lock: Path
) -> None:
    before = ask(frozen=lock).to_bunch(resample=True)
    change(archive)
    live = ask(collection_ids=[HOME], mode="update").to_bunch(resample=True)
    new = {m["id"]: Path(m["resampled_absolute_path"]) for m in live.images_meta}
    kept = new[UPLOADED].read_bytes()
    after = ask(frozen=lock).to_bunch(resample=True)
    assert len(after.images) == len(before.images) == len(IDS)
    values = dict(zip(IDS, map(_values, after.images), strict=True))
    np.testing.assert_array_equal(
        values[UPLOADED], ask(frozen=lock).read().maps.sel(image=UPLOADED)
    )
    assert not np.array_equal(values[UPLOADED], _values(new[UPLOADED]))
    assert new[UPLOADED].read_bytes() == kept


def _values(path: str | Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj, dtype=np.float32)


# ---- offline, and out of reach -----------------------------------------------------


def test_offline_one_error_lists_what_is_missing(
    ask: Ask, lock: Path, elsewhere: Path
) -> None:
    frozen = ask(frozen=lock, data_dir=elsewhere, mode="offline")
    assert len(frozen.df) == len(IDS)
    match = (
        r"^5 of 5 images frozen on .* are not in the store .*: 2000, 2001, 2002, 200"
    )
    for look in ("fetch", "to_dask", "read"):
        with pytest.raises(OfflineError, match=match):
            getattr(frozen, look)()
    with pytest.raises(OfflineError, match=r"^Only the server knows what changed"):
        frozen.changes()


def test_a_server_out_of_reach(ask: Ask, lock: Path, elsewhere: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    assert bytes_of(ask(frozen=lock, url=nowhere)) == original(*IDS)
    frozen = ask(frozen=lock, url=nowhere, data_dir=elsewhere)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        frozen.fetch()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        ask(frozen=lock, url=nowhere).changes()


def test_the_server_of_the_lock_is_asked_by_default(
    served: NeuroVaultServer,
    lock: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = search(frozen=lock, data_dir=elsewhere)
    assert frozen.vault.mirror.client.url == served.url
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", "http://127.0.0.1:9")
    assert search(frozen=lock).vault.mirror.client.url == "http://127.0.0.1:9"
    assert search(frozen=lock, url=served.url).vault.mirror.client.url == served.url


# ---- freezing ----------------------------------------------------------------------


def test_freezing_fetches_what_is_missing(
    ask: Ask, data_dir: Path, tmp_path: Path
) -> None:
    live = ask(image_terms={"collection_id": HOME}, max_images=3)
    path = live.freeze(tmp_path / "a.yaml", "three")
    assert live.missing() == []
    source = intake.open_catalog(str(path)).three
    assert source.keys() == IDS[:3]
    assert source.query == Query.parse(
        image_terms={"collection_id": HOME}, max_images=3
    )
    pd.testing.assert_frame_equal(source.explain(), live.explain())
    assert source.result.listed == live.listed


def test_what_cannot_be_had_is_left_out(
    ask: Ask, archive: Archive, tmp_path: Path
) -> None:
    lost = archive.add_image(HOME, None, id=2999)
    with pytest.raises(MissingError, match=r"^Image 2999 .*has lost its file"):
        ask(collection_ids=[HOME]).freeze(tmp_path / "a.yaml")
    assert list(tmp_path.glob("a.*")) == []
    with pytest.warns(NeuroVaultWarning, match=r"1 thing could not be fetched"):
        path = ask(collection_ids=[HOME], errors="warn").freeze(tmp_path / "a.yaml")
    frozen = ask(frozen=path.with_suffix(".lock.json"))
    assert frozen.keys() == IDS
    assert frozen.failures.id.tolist() == [lost]
    assert "mage 2999" in frozen.failures.reason[0]


def test_nothing_to_freeze(ask: Ask, tmp_path: Path) -> None:
    none = ask(collection_ids=[HOME], image_terms={"name": "no such map"})
    with pytest.raises(EmptyResultError, match=r"nothing to freeze\. No image matched"):
        none.freeze(tmp_path / "a.yaml")
    assert list(tmp_path.glob("a.*")) == []


def test_a_file_older_than_its_record_is_not_frozen(
    ask: Ask, archive: Archive, tmp_path: Path
) -> None:
    ask(collection_ids=[HOME]).fetch()
    archive.replace_file(UPLOADED, content(9))
    stale = ask(collection_ids=[HOME], metadata_ttl=0)
    with pytest.raises(
        ChangedError, match=r"image 2001 .* is older than its record.*up"
    ):
        stale.freeze(tmp_path / "a.yaml")
    lenient = ask(collection_ids=[HOME], metadata_ttl=0, errors="warn")
    with pytest.warns(NeuroVaultWarning, match=r"1 thing could not be frozen"):
        path = lenient.freeze(tmp_path / "a.yaml")
    assert UPLOADED not in ask(frozen=path.with_suffix(".lock.json"))
    fresh = ask(collection_ids=[HOME], mode="update").freeze(tmp_path / "b.yaml")
    frozen = ask(frozen=fresh.with_suffix(".lock.json"))
    assert bytes_of(frozen)[UPLOADED] == content(9)


def test_plain_files_are_frozen_as_served(
    ask: Ask, archive: Archive, tmp_path: Path, elsewhere: Path
) -> None:
    plain = gzip.decompress(content(3))
    number = archive.add_image(5, plain, filename="plain.nii")
    path = ask(image_ids=[number]).freeze(tmp_path / "a.yaml")
    lock = path.with_suffix(".lock.json")
    (row,) = json.loads(lock.read_text("utf-8"))["images"]
    assert row["size"] == len(plain)
    for store in (None, elsewhere):
        more = {} if store is None else {"data_dir": store}
        found = ask(frozen=lock, **more).fetch()[number]
        assert gzip.decompress(found.read_bytes()) == plain
    # Another gzip around the same bytes is as good.
    found.unlink()
    found.write_bytes(gzip.compress(plain, 9))
    for ours in elsewhere.rglob("frozen/**/*.nii.gz"):
        ours.unlink()
    offline = ask(frozen=lock, data_dir=elsewhere, mode="offline")
    assert offline.fetch() == {number: found}


def test_freezing_offline_and_what_nilearn_brought(
    ask: Ask, data_dir: Path, tmp_path: Path, served: NeuroVaultServer
) -> None:
    ask(collection_ids=[HOME]).fetch()
    shutil.rmtree(data_dir / "neurovault" / ".intake_neurovault" / "receipts")
    served.clear_requests()
    path = ask(image_ids=IDS, mode="offline").freeze(tmp_path / "a.yaml")
    assert asked(served) == []
    frozen = ask(frozen=path.with_suffix(".lock.json"))
    assert bytes_of(frozen) == original(*IDS)
    assert "mode" not in path.read_text("utf-8")


def test_a_frozen_result_is_frozen_again(
    ask: Ask, archive: Archive, lock: Path, tmp_path: Path
) -> None:
    change(archive)
    again = ask(frozen=lock).freeze(tmp_path / "again.yaml")
    one, other = ask(frozen=lock), ask(frozen=again.with_suffix(".lock.json"))
    pd.testing.assert_frame_equal(one.df, other.df)
    assert bytes_of(other) == original(*IDS)


def test_functions_cannot_be_frozen(ask: Ask, tmp_path: Path) -> None:
    odd = ask(collection_ids=[HOME], image_terms=lambda image: image["id"] % 2)
    with pytest.raises(FilterError, match=r"A Python function cannot be written down"):
        odd.freeze(tmp_path / "a.yaml")


def test_only_frozen_results_have_changes(ask: Ask) -> None:
    live = ask(collection_ids=[HOME])
    for name in ("changes", "thaw"):
        with pytest.raises(
            ArgumentError, match=r"^This result is not frozen: result\.fr"
        ):
            getattr(live, name)()


# ---- private collections -----------------------------------------------------------


def test_a_token_is_never_written(
    server: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    to = {"url": server.url, "data_dir": data_dir, "retries": 0}
    live = search(collection_ids="env:MY_TOKEN", **to)
    path = live.freeze(tmp_path / "cat" / "mine.yaml")
    for name in ("mine.yaml", "mine.lock.json"):
        text = (tmp_path / "cat" / name).read_bytes()
        assert SECRET.encode() not in text
    assert b"env:MY_TOKEN" in path.with_suffix(".lock.json").read_bytes()
    lock = path.with_suffix(".lock.json")
    frozen = search(frozen=lock, **(to | {"data_dir": elsewhere}))
    assert bytes_of(frozen) == bytes_of(live)
    assert frozen.changes().empty
    assert SECRET.encode() not in kept_texts(elsewhere)
    assert SECRET not in repr(frozen)
    monkeypatch.delenv("MY_TOKEN")
    offline = search(frozen=lock, **(to | {"mode": "offline"}))
    assert bytes_of(offline) == bytes_of(live)


def test_a_literal_token_is_refused_before_anything_is_asked(
    fresh_server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    live = search(collection_ids=SECRET, url=fresh_server.url, data_dir=data_dir)
    with pytest.raises(ArgumentError, match=r"A literal token of a private collection"):
        live.freeze(tmp_path / "a.yaml")
    assert asked(fresh_server) == []
    assert list(tmp_path.glob("a.*")) == []


# ---- one argument among others -----------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"image_terms": {}}, IDS),
        ({"image_terms": {"name": "no such"}}, []),
        ({"image_terms": lambda image: image["id"] != SAME}, IDS[1:]),
        ({"collection_terms": {"id": 99}}, []),
        ({"image_ids": [DELETED, SAME]}, [SAME, DELETED]),
        ({"collection_ids": HOME, "max_images": 2}, IDS[:2]),
        ({"max_images": 3}, IDS[:3]),
        ({"max_images": None}, IDS),
        ({"max_images": 100}, IDS),
    ],
)
def test_other_arguments_choose_of_what_is_frozen(
    ask: Ask,
    served: NeuroVaultServer,
    lock: Path,
    arguments: dict[str, Any],
    expected: list[int],
) -> None:
    served.clear_requests()
    some = ask(frozen=lock, **arguments)
    assert some.keys() == expected
    assert some.vault.pool.errors == "raise"
    assert asked(served) == []


@pytest.mark.parametrize(
    ("arguments", "expected", "absent"),
    [
        ({"image_ids": [SAME, 9]}, [SAME], "image_ids: not in this result: 9;"),
        ({"collection_ids": [HOME, 9]}, IDS, "collection_ids: not in this result: 9;"),
    ],
)
def test_what_is_named_and_not_frozen_is_told(
    ask: Ask, lock: Path, arguments: Any, expected: list[int], absent: str
) -> None:
    with pytest.warns(NeuroVaultWarning, match=absent):
        some = ask(frozen=lock, **arguments)
    assert some.keys() == expected


def test_what_was_chosen_can_be_written(ask: Ask, lock: Path) -> None:
    some = ask(frozen=lock, image_terms={"id": {"$gt": SAME}}, max_images=2)
    written = some.to_arguments()
    assert search(**written) == some
    source = intake.open_neurovault(**written)
    assert source.keys() == [UPLOADED, DELETED]
    assert source.search(max_images=1).keys() == [UPLOADED]
    drawn = source.sample(1, seed=3)
    assert drawn.keys() == some.sample(1, seed=3).keys()
    assert pickle.loads(pickle.dumps(drawn)) == drawn
    assert source(max_images=None).keys() == IDS[1:]


def test_the_other_arguments_are_as_ever(ask: Ask, lock: Path) -> None:
    frozen = ask(frozen=str(lock), grid="mni152-2mm", chunks=2, errors="skip")
    assert frozen.to_dask().maps.shape == (5, 91, 109, 91)
    written = frozen.to_arguments()
    assert written.pop("frozen") == str(lock)
    assert written.keys() == {"grid", "chunks", "errors", "url", "data_dir", "retries"}
    assert search(**frozen.to_arguments()) == frozen


def test_grid_and_words_stand_in_the_entry(ask: Ask, tmp_path: Path) -> None:
    live = ask(
        image_ids=[SAME],
        grid="mni152-2mm",
        interpolation="linear",
        fill_value=1e-5,
        fetch_neurosynth_words=True,
        words_url="http://127.0.0.1:9/decode",
    )
    source = intake.open_catalog(str(live.freeze(tmp_path / "a.yaml"))).a
    assert source.result.reader == live.reader
    assert source.query == live.query
    assert source.result.to_arguments()["words_url"] == "http://127.0.0.1:9/decode"


def test_both_files_moved_together(
    ask: Ask, catalog: Path, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ask(frozen=lock)
    moved = tmp_path / "somewhere else"
    shutil.move(catalog.parent, moved)
    monkeypatch.chdir(moved)
    by_name = intake.open_catalog("maps.yaml").maps
    by_path = intake.open_catalog(str(moved / "maps.yaml")).maps
    assert by_name == by_path
    assert by_name.result.vault.lock == before.vault.lock
    assert bytes_of(by_name.result) == original(*IDS)


def test_a_lock_that_was_left_behind(catalog: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.yaml"
    shutil.copy(catalog, alone)
    with pytest.raises(
        LockError, match=r"maps\.lock\.json cannot be read .*; it belong"
    ):
        intake.open_catalog(str(alone)).maps  # noqa: B018


def test_equality_tokens_and_copies(
    ask: Ask, archive: Archive, catalog: Path, lock: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copy.lock.json"
    shutil.copy(lock, copied)
    one, other = ask(frozen=lock), ask(frozen=copied)
    assert one == other
    assert hash(one) == hash(other)
    assert tokenize(one) == tokenize(other)
    assert one.to_dask().maps.name == other.to_dask().maps.name
    assert one.to_dask().maps.data.name == other.to_dask().maps.data.name
    assert one != ask(collection_ids=[HOME])
    copied.unlink()
    again = pickle.loads(pickle.dumps(other))
    assert again == one
    assert bytes_of(again) == original(*IDS)
    archive.edit_image(SAME, name="renamed")
    newer = ask(collection_ids=[HOME], mode="update").freeze(tmp_path / "newer.yaml")
    newer_lock = ask(frozen=newer.with_suffix(".lock.json"))
    assert newer_lock != one
    assert tokenize(newer_lock) != tokenize(one)
    source = intake.open_catalog(str(catalog)).maps
    assert pickle.loads(pickle.dumps(source)) == source


def test_the_graph_does_not_carry_the_lock(ask: Ask, lock: Path) -> None:
    frozen = ask(frozen=lock, chunks=1)
    one = frozen.to_dask().maps.isel(image=[0])
    assert len(pickle.dumps(one.data)) < 20_000
    assert b"number_of_subjects" not in pickle.dumps(frozen.to_dask().maps.data)


def test_a_choice_among_frozen_images(
    ask: Ask, lock: Path, served: NeuroVaultServer, tmp_path: Path
) -> None:
    frozen = ask(frozen=lock)
    served.clear_requests()
    assert frozen.matched() == len(IDS)
    chosen = frozen.search(image_terms={"id": {"$gt": 2001}})
    odd = frozen.search(image_terms=lambda image: image["id"] % 2)
    for result, expected, number in (
        (chosen, [2002, 2003, 2004], 3),
        (odd, [2001, 2003], 2),
        (frozen.search(image_ids=[2003]), [2003], 1),
        (frozen.search(collection_ids=HOME, max_images=2), [2000, 2001], 5),
        (frozen.search(collection_terms={"name": "no such"}), [], 0),
    ):
        assert result.keys() == expected
        assert result.matched() == number
        result.close()
        assert result.keys() == expected
        assert result.matched() == number
    assert pickle.loads(pickle.dumps(chosen)).keys() == [2002, 2003, 2004]
    assert chosen.explain().removed.tolist() == [2]
    assert chosen.read().sizes["image"] == 3
    assert frozen.sample(2).keys() == frozen.sample(2).keys()
    assert search(**chosen.to_arguments()) == chosen
    assert search(**chosen.to_arguments()).keys() == [2002, 2003, 2004]
    path = chosen.freeze(tmp_path / "chosen.yaml")
    assert ask(frozen=path.with_suffix(".lock.json")).keys() == [2002, 2003, 2004]
    assert asked(served) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query.parse(collection_ids=[HOME, 9], image_ids=[2003]), IDS),
        (Query.parse(image_ids=[2003, 9]), [2003]),
        (Query.parse(collection_ids=[HOME + 1]), []),
        (Query.parse(collection_ids=[HOME], max_images=2), [2000, 2001]),
        (Query.parse(image_terms={}, collection_terms={}, max_images=None), IDS),
    ],
)
def test_another_query_of_a_lock(
    ask: Ask, lock: Path, query: Query, expected: list[int]
) -> None:
    frozen = ask(frozen=lock)
    assert SearchResult(query, frozen.reader, frozen.vault).keys() == expected


def test_what_is_known_of_a_frozen_map(
    ask: Ask, archive: Archive, lock: Path, elsewhere: Path
) -> None:
    change(archive)
    ask(collection_ids=[HOME], mode="update").fetch()
    frozen = ask(frozen=lock)
    known = frozen[UPLOADED].kept
    assert known.path == frozen.fetch()[UPLOADED]
    assert (known.size, known.current) == (len(content(UPLOADED)), True)
    assert known.sha256 == hashlib.sha256(content(UPLOADED)).hexdigest()
    assert frozen[EDITED].metadata["name"] != "renamed"
    assert frozen[EDITED].kept.current is True
    assert ask(frozen=lock, data_dir=elsewhere)[UPLOADED].kept.size is None


def test_a_frozen_result_in_a_notebook(ask: Ask, lock: Path) -> None:
    html = ask(frozen=lock, mode="offline")._repr_html_()
    assert "5 images, frozen 20" in html
    assert "finger tapping map" in html


def test_a_frozen_result_as_a_plain_catalog(
    ask: Ask, lock: Path, tmp_path: Path
) -> None:
    frozen = ask(frozen=lock)
    path = frozen.to_intake(tmp_path / "plain.yaml")
    assert intake.open_catalog(str(path)).plain.result == frozen


def test_other_versions_are_told(
    ask: Ask, lock: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = ask(frozen=lock)
    older = replace(frozen.vault.lock, packages=(("scipy", "0.1"),))
    vault = replace(frozen.vault, lock=older)
    with caplog.at_level("INFO", "intake_neurovault.frozen"):
        frozen.to_dask()
        assert caplog.messages == []
        SearchResult(frozen.query, frozen.reader, vault).to_dask()
    assert caplog.messages == [
        "Frozen with scipy 0.1; values on a grid may differ in the last digits."
    ]


def test_housekeeping_knows_them(
    ask: Ask, archive: Archive, lock: Path, data_dir: Path
) -> None:
    cache = Cache.parse(data_dir)
    info = cache.info()
    assert (info.frozen.files, info.frozen.bytes, info.others.files) == (5, 0, 0)
    change(archive)
    ask(collection_ids=[HOME], mode="update").fetch()
    info = cache.info()
    assert (info.frozen.files, info.frozen.bytes) == (5, len(content(UPLOADED)))
    assert cache.verify().findings == ()
    cache.clear(older_than=0)
    assert cache.info().frozen.files == 5
    assert bytes_of(ask(frozen=lock, mode="offline")) == original(*IDS)
    cache.clear(everything=True)
    assert not list(data_dir.rglob("*.nii.gz"))
    assert not list(data_dir.rglob("frozen"))


# ---- processes ---------------------------------------------------------------------


OPEN = """
import hashlib, intake, json, sys
source = intake.open_catalog(sys.argv[1]).maps
maps = source.to_dask().maps
if len(sys.argv) > 2:
    values = maps.compute(scheduler="processes", num_workers=2)
else:
    values = maps.compute()
found = source.fetch()
print(json.dumps({
    "values": hashlib.sha256(values.values.tobytes()).hexdigest(),
    "name": maps.data.name,
    "files": {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in found.items()},
    "table": source.df.to_csv(),
}))
"""


def test_in_other_processes(
    ask: Ask,
    archive: Archive,
    served: NeuroVaultServer,
    catalog: Path,
    run_python: Callable[..., Any],
) -> None:
    change(archive)
    served.__exit__(None, None, None)
    plain = json.loads(run_python(OPEN, str(catalog)).stdout)
    assert plain == json.loads(run_python(OPEN, str(catalog)).stdout)
    lock = json.loads(catalog.with_suffix(".lock.json").read_text("utf-8"))
    assert plain["files"] == {str(i["id"]): i["sha256"] for i in lock["images"]}


def test_with_workers_that_are_processes(
    catalog: Path, elsewhere: Path, run_python: Callable[..., Any]
) -> None:
    text = catalog.read_text("utf-8").replace("data_dir: ", f"data_dir: {elsewhere} #")
    catalog.write_text(text)
    code = f"if __name__ == '__main__':{indent(OPEN, '    ')}"
    cold = json.loads(run_python(code, str(catalog), "processes").stdout)
    warm = json.loads(run_python(OPEN, str(catalog)).stdout)
    assert cold == warm


def test_many_processes_open_it_at_once(
    ask: Ask,
    archive: Archive,
    catalog: Path,
    elsewhere: Path,
    run_python: Callable[..., Any],
) -> None:
    text = catalog.read_text("utf-8").replace("data_dir: ", f"data_dir: {elsewhere} #")
    catalog.write_text(text)
    with ThreadPoolExecutor(3) as crew:
        runs = [crew.submit(run_python, OPEN, str(catalog)) for _ in range(3)]
    one, *others = (json.loads(run.result().stdout) for run in runs)
    assert others == [one, one]
    change(archive)
    ask(collection_ids=[HOME], data_dir=elsewhere, mode="update").fetch()
    assert json.loads(run_python(OPEN, str(catalog)).stdout) == one
    assert not [each for each in elsewhere.rglob(".*") if is_temporary(each.name)]
