"""Private collections through fsspec: to be had by their token, which stays secret."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from dask.base import tokenize
from folders import HIDDEN, IMAGE, both, cached, files_in, paths_of, small_archive

from intake_neurovault.errors import (
    ArgumentError,
    MissingError,
    NeuroVaultWarning,
    PrivateError,
)
from intake_neurovault.filesystem import NeuroVaultFileSystem
from intake_neurovault.instances import Secret, guarded, parse_private
from intake_neurovault.refs import Token
from intake_neurovault.testing import PRIVATE_NAME, NeuroVaultServer, Volume

ENV = "env:MY_MAPS"
OTHER = "ZYXWVUTS"
KINDS = ["direct", "kept"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeuroVaultServer]:
    """Serve the small archive to one test; the token is in the environment."""
    monkeypatch.setenv("MY_MAPS", PRIVATE_NAME)
    with NeuroVaultServer(small_archive()) as running:
        yield running


@pytest.fixture(params=KINDS)
def fs(request: pytest.FixtureRequest, small: NeuroVaultServer, data_dir: Path) -> Any:
    """Either filesystem, with the private collection."""
    return both(small.url, data_dir, private=ENV)[request.param]


READS = {
    "ls": lambda fs: [entry["name"] for entry in fs.ls("collection_9")][1] == HIDDEN,
    "info": lambda fs: fs.info(HIDDEN)["nv_id"] == 91,
    "exists": lambda fs: fs.exists(HIDDEN),
    "isdir": lambda fs: fs.isdir("collection_9"),
    "glob": lambda fs: fs.glob("collection_9/image_*.nii.gz") == [HIDDEN],
    "glob of folders": lambda fs: fs.glob("collection_*/image_91.nii.gz") == [HIDDEN],
    "find": lambda fs: HIDDEN in fs.find("collection_9"),
    "open": lambda fs: fs.open(HIDDEN).read(2) == b"\x1f\x8b",
    "cat": lambda fs: fs.cat([HIDDEN])[HIDDEN][:2] == b"\x1f\x8b",
    "head": lambda fs: fs.head(HIDDEN, 2) == b"\x1f\x8b",
    "record": lambda fs: (
        json.loads(fs.cat_file("collection_9/collection_metadata.json"))["id"] == 9
    ),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_what_is_private_is_read_as_all_else(
    fs: Any,
    small: NeuroVaultServer,
    read: Callable[[Any], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    assert read(fs)
    assert paths_of(small)[f"/api/collections/{PRIVATE_NAME}/"] == 1
    said = [
        record.getMessage()
        for record in caplog.records
        if record.name != "intake_neurovault.testing.server"
    ]
    assert said
    assert PRIVATE_NAME not in "\n".join(said)


def test_the_root_shows_it_by_its_number(fs: Any, small: NeuroVaultServer) -> None:
    names = ["collection_7", "collection_8", "collection_9"]
    assert fs.ls("", detail=False) == names
    assert fs.ls("", detail=False) == names
    fs.info("collection_9")
    assert paths_of(small) == {
        "/api/collections/": 1,
        f"/api/collections/{PRIVATE_NAME}/": 1,
    }


def test_a_copy_has_the_bytes_and_its_name_no_token(
    fs: Any, small: NeuroVaultServer, tmp_path: Path
) -> None:
    fs.get("collection_9", f"{tmp_path}/copy", recursive=True)
    assert (tmp_path / "copy/image_91.nii.gz").read_bytes() == small.file_bytes(91)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 3
    assert not [data for data in written if PRIVATE_NAME.encode() in data]
    assert not [name for name in files_in(tmp_path) if PRIVATE_NAME in name]


def test_the_token_is_asked_with_only_where_it_is_needed(
    fs: Any, small: NeuroVaultServer
) -> None:
    fs.cat_file(HIDDEN)
    asked = set(paths_of(small))
    assert asked >= {
        f"/api/images/{PRIVATE_NAME}-91/",
        f"/media/images/{PRIVATE_NAME}/image_91.nii.gz",
    }
    assert not {path for path in asked if PRIVATE_NAME not in path}
    small.clear_requests()
    fs.cat_file(IMAGE)
    assert set(paths_of(small)) >= {"/api/images/71/"}
    assert not {path for path in paths_of(small) if PRIVATE_NAME in path}


def test_the_number_of_a_token_is_asked_once(fs: Any, small: NeuroVaultServer) -> None:
    small.clear_requests()
    for path in (HIDDEN, IMAGE, HIDDEN):
        fs.info(path)
    assert paths_of(small)[f"/api/collections/{PRIVATE_NAME}/"] == 1


def test_a_refresh_sees_new_private_images(fs: Any, small: NeuroVaultServer) -> None:
    assert len(fs.ls("collection_9")) == 3
    small.archive.add_image(9, Volume("mni6", 92), id=92)
    assert len(fs.ls("collection_9")) == 3
    assert len(fs.ls("collection_9", refresh=True)) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_asked_before_it_is_needed(
    small: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("MY_MAPS")
    fs = both(small.url, data_dir, private=ENV)[kind]
    assert small.requests == []
    with pytest.raises(ArgumentError, match="environment variable MY_MAPS"):
        fs.ls("")
    monkeypatch.setenv("MY_MAPS", OTHER)
    with pytest.raises(MissingError, match="whose token is in MY_MAPS") as caught:
        fs.info(HIDDEN)
    assert OTHER not in str(caught.value)
    monkeypatch.setenv("MY_MAPS", PRIVATE_NAME)
    assert fs.exists(HIDDEN)


def test_without_the_token_the_advice_is_for_fsspec(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    for fs in both(small.url, data_dir).values():
        with pytest.raises(PrivateError, match=r"private=\['env:NAME'\] for fsspec"):
            fs.ls("collection_9")


# ---- with a store ----------------------------------------------------------------


def test_what_was_kept_needs_neither_server_nor_token(
    small: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cached(small.url, data_dir, private=ENV)
    listed = kept.ls("collection_9", detail=False)
    root = kept.ls("", detail=False)
    whole = kept.cat_file(HIDDEN)
    small.clear_requests()
    again = cached(small.url, data_dir, private=ENV, workers=2)
    assert again.cat_file(HIDDEN) == whole
    assert again.ls("collection_9", detail=False) == listed
    offline = cached(small.url, data_dir, private=ENV, mode="offline")
    assert offline.ls("", detail=False) == root
    assert offline.ls("collection_9", detail=False) == listed
    monkeypatch.delenv("MY_MAPS")
    assert offline.cat_file(HIDDEN) == whole
    assert cached(small.url, data_dir, mode="offline").cat_file(HIDDEN) == whole
    assert small.requests == []


def test_offline_what_was_only_listed_is_listed(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    offline = cached(small.url, data_dir, private=ENV, mode="offline")
    assert offline.ls("") == []
    cached(small.url, data_dir, private=ENV).ls("collection_9")
    small.clear_requests()
    offline.invalidate_cache()
    assert offline.ls("", detail=False) == ["collection_9"]
    assert offline.info(HIDDEN)["nv_id"] == 91
    assert small.requests == []


def test_a_damaged_private_map_is_had_again(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    whole = cached(small.url, data_dir, private=ENV).cat_file(HIDDEN)
    place = data_dir / "neurovault" / HIDDEN
    place.write_bytes(whole[:100])
    again = cached(small.url, data_dir, private=ENV, workers=2)
    with pytest.warns(NeuroVaultWarning, match="is passed over"):
        assert again.cat_file(HIDDEN) == whole
    assert place.read_bytes() == whole


def test_the_options_of_a_chain_may_hold_it(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    options = {
        "neurovault": {"url": small.url, "private": [ENV]},
        "neurovaultcache": {"data_dir": str(data_dir)},
    }
    chain = "neurovaultcache::neurovault://"
    place = fsspec.open_local(f"{chain}{HIDDEN}", **options)
    assert Path(place).read_bytes() == small.file_bytes(91)
    with fsspec.open(f"{chain}{HIDDEN}", **options) as file:
        assert file.read() == small.file_bytes(91)
    fs, _ = fsspec.url_to_fs(f"{chain}{HIDDEN}", **options)
    assert fs.private == (Token(env="MY_MAPS"),)


# ---- what is written down --------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "private", [PRIVATE_NAME, Token(secret=PRIVATE_NAME), [PRIVATE_NAME, ENV]]
)
def test_a_literal_token_works_and_is_never_shown(
    small: NeuroVaultServer, data_dir: Path, kind: str, private: object
) -> None:
    fs = both(small.url, data_dir, private=private)[kind]
    assert fs.cat_file(HIDDEN) == small.file_bytes(91)
    fs.ls("")
    fs.ls("collection_9")
    said = (
        fs,
        fs.fsid,
        fs.private,
        fs.storage_options,
        vars(fs),
        fs.dircache._cache,
        fs.ls("", detail=True),
        fs.ls("collection_9"),
        fs.ukey(HIDDEN),
        tokenize(fs),
    )
    assert [text for text in map(repr, said) if PRIVATE_NAME in text] == []
    for write in (fs.to_json, fs.to_dict):
        with pytest.raises(ArgumentError, match="literal token") as caught:
            write()
        assert PRIVATE_NAME not in str(caught.value)
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(HIDDEN) == small.file_bytes(91)


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_is_written_down_by_its_name(
    small: NeuroVaultServer, data_dir: Path, kind: str
) -> None:
    fs = both(small.url, data_dir, private=Token(env="MY_MAPS"))[kind]
    text = fs.to_json()
    assert ENV in text
    assert PRIVATE_NAME not in text
    again = fsspec.AbstractFileSystem.from_json(text)
    assert again.private == fs.private
    assert again.exists(HIDDEN)


def test_instances_of_other_tokens_are_others(small: NeuroVaultServer) -> None:
    def make(private: object) -> NeuroVaultFileSystem:
        return NeuroVaultFileSystem(url=small.url, private=private)

    mine, other = make(Token(secret=PRIVATE_NAME)), make(Token(secret=OTHER))
    assert mine is make(PRIVATE_NAME)
    assert mine is not other
    assert mine != other
    assert tokenize(mine) != tokenize(other)
    assert make(ENV) is make([Token(env="MY_MAPS")])
    assert pickle.loads(pickle.dumps(mine)) is mine


@pytest.mark.parametrize("value", [9, "9", "abcdefgh", ["env:A", 9], {"a": 1}, 1.5])
def test_what_is_no_token_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="private"):
        NeuroVaultFileSystem(private=value)
    with pytest.raises(ArgumentError, match="private"):
        cached("http://127.0.0.1:9", Path("x"), private=value)


def test_a_slip_of_the_pen_is_not_shown() -> None:
    with pytest.raises(ArgumentError, match=r"private='\*\*\*' is no token") as caught:
        parse_private(f"{PRIVATE_NAME}X")
    assert PRIVATE_NAME not in str(caught.value)


def test_tokens_are_guarded_wherever_they_are_among_the_options() -> None:
    options = {"target_options": {"private": PRIVATE_NAME, "url": "x"}, "private": ENV}
    found = guarded(options)
    assert found["private"] == (ENV,)
    (secret,) = found["target_options"]["private"]
    assert type(secret) is Secret
    assert secret.reveal() == PRIVATE_NAME
    assert guarded(found) == found
    assert options["private"] == ENV
