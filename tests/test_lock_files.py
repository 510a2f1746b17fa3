"""Frozen queries on disk: both files or none, and nothing of anybody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from test_locks import frozen_image, lock_of

from intake_neurovault.errors import ArgumentError, LockError, StoreError
from intake_neurovault.lock_files import Target, read_lock

LOCK = lock_of(frozen_image(3), frozen_image(4))


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return Target.parse(tmp_path / "maps.yaml").write(LOCK, {"grid": None})


def test_both_files(tmp_path: Path) -> None:
    target = Target.parse(tmp_path / "new" / "my-maps 2.yml")
    path = target.write(LOCK, {"grid": "mni152-2mm", "workers": 3, "mode": "offline"})
    assert path == tmp_path / "new" / "my-maps 2.yml"
    assert read_lock(tmp_path / "new" / "my-maps 2.lock.json") == LOCK
    assert yaml.safe_load(path.read_text("utf-8")) == {
        "sources": {
            "my_maps_2": {
                "driver": "neurovault",
                "description": "2 images frozen on 2024-05-02: collections 1",
                "args": {
                    "frozen": "{{ CATALOG_DIR }}/my-maps 2.lock.json",
                    "grid": "mni152-2mm",
                },
            }
        }
    }
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "my-maps 2.lock.json",
        "my-maps 2.yml",
    ]


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("maps.yaml", None, "maps"),
        ("3 maps.yaml", None, "_3_maps"),
        ("a-b.c.YML", None, "a_b_c"),
        ("maps.yaml", "hands", "hands"),
    ],
)
def test_names(tmp_path: Path, path: str, name: str | None, expected: str) -> None:
    assert Target.parse(tmp_path / path, name).name == expected


@pytest.mark.parametrize("name", ["two words", "", "3d", "a-b", 3])
def test_what_is_no_name(tmp_path: Path, name: object) -> None:
    with pytest.raises(ArgumentError, match=r"name=.* cannot be the name of an entry"):
        Target.parse(tmp_path / "maps.yaml", name)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["maps", "maps.json", "maps.lock.json", ""])
def test_what_is_no_catalog(path: str) -> None:
    with pytest.raises(ArgumentError, match=r"freeze\('.*'\) must name a catalog"):
        Target.parse(path)


def test_what_is_there_stays(catalog: Path) -> None:
    with pytest.raises(ArgumentError, match=r"maps\.yaml exists already; pass overwri"):
        Target.parse(catalog)
    catalog.unlink()
    with pytest.raises(ArgumentError, match=r"maps\.lock\.json exists already"):
        Target.parse(catalog)


def test_ours_is_replaced_if_asked(catalog: Path) -> None:
    other = lock_of(frozen_image(9))
    Target.parse(catalog, "other", overwrite=True).write(other, {})
    assert read_lock(catalog.with_suffix(".lock.json")) == other
    assert list(yaml.safe_load(catalog.read_text("utf-8"))["sources"]) == ["other"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "sources: {}",
        "sources: {a: {driver: csv, args: {frozen: '{{ CATALOG_DIR }}/x'}}}",
        "sources: {a: {driver: neurovault, args: {image_ids: [3]}}}",
        "sources: [",
        "metadata: {}\nsources: {a: {driver: neurovault, args: {frozen: "
        "'{{ CATALOG_DIR }}/maps.lock.json'}}}",
    ],
)
def test_a_catalog_of_somebody_else_is_never_replaced(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "maps.yaml").write_text(text)
    with pytest.raises(ArgumentError, match=r"holds something else than one frozen qu"):
        Target.parse(tmp_path / "maps.yaml", overwrite=True)


def test_a_catalog_with_more_entries_is_never_replaced(catalog: Path) -> None:
    content = yaml.safe_load(catalog.read_text("utf-8"))
    content["sources"]["mine"] = {"driver": "csv", "args": {"urlpath": "x.csv"}}
    catalog.write_text(yaml.safe_dump(content))
    with pytest.raises(ArgumentError, match=r"maps\.yaml holds something else than on"):
        Target.parse(catalog, overwrite=True)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"kind": "other"}', "\x00"])
def test_a_lock_of_somebody_else_is_never_replaced(catalog: Path, text: str) -> None:
    catalog.with_suffix(".lock.json").write_text(text)
    with pytest.raises(ArgumentError, match=r"maps\.lock\.json holds something else"):
        Target.parse(catalog, overwrite=True)


def test_both_files_or_none(tmp_path: Path) -> None:
    target = Target.parse(tmp_path / "maps.yaml")
    (tmp_path / "maps.yaml").mkdir()
    with pytest.raises(StoreError, match=r"maps\.yaml cannot be written \(Is a dire"):
        target.write(LOCK, {})
    assert [each.name for each in tmp_path.iterdir()] == ["maps.yaml"]


def test_the_older_lock_comes_back(catalog: Path) -> None:
    target = Target.parse(catalog, overwrite=True)
    catalog.unlink()
    catalog.mkdir()
    with pytest.raises(StoreError, match=r"cannot be written"):
        target.write(lock_of(frozen_image(9)), {})
    assert read_lock(catalog.with_suffix(".lock.json")) == LOCK
    assert len(list(catalog.parent.iterdir())) == 2


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    target = Target.parse(tmp_path / "file" / "maps.yaml")
    with pytest.raises(StoreError, match=r"cannot be written .*; freeze to another pa"):
        target.write(LOCK, {})


def test_a_file_address_is_a_path(catalog: Path) -> None:
    lock = catalog.with_suffix(".lock.json")
    assert read_lock(lock.as_uri()) == read_lock(lock) == read_lock(str(lock))


def test_a_path_from_home(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(catalog.parent))
    assert read_lock("~/maps.lock.json") == LOCK
    assert Target.parse("~/other.yaml").write(LOCK, {}) == catalog.parent / "other.yaml"


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    match = r"maps\.lock\.json cannot be read \(No such file or directory\); it belongs"
    with pytest.raises(LockError, match=match):
        read_lock(tmp_path / "maps.lock.json")


def test_a_lock_elsewhere() -> None:
    with pytest.raises(LockError, match=r"is not on this machine; download it and its"):
        read_lock("https://lab.org/maps.lock.json")


def test_a_catalog_in_place_of_its_lock(catalog: Path) -> None:
    match = r"is a catalog: open it with intake.* frozen='.*maps\.lock\.json'\."
    with pytest.raises(LockError, match=match):
        read_lock(catalog)


@pytest.mark.parametrize("cut", [0, 1, 500])
def test_a_lock_that_was_cut_off(catalog: Path, cut: int) -> None:
    lock = catalog.with_suffix(".lock.json")
    lock.write_bytes(lock.read_bytes()[:cut])
    with pytest.raises(
        LockError, match=r"maps\.lock\.json is damaged \(.*\); put a co"
    ):
        read_lock(lock)


def test_a_lock_that_is_no_text(catalog: Path) -> None:
    lock = catalog.with_suffix(".lock.json")
    lock.write_bytes(b"\xff\xfe")
    with pytest.raises(LockError, match=r"is damaged"):
        read_lock(lock)


def test_a_lock_that_was_edited(catalog: Path) -> None:
    lock = catalog.with_suffix(".lock.json")
    text = lock.read_text("utf-8")
    assert "1003" in text
    lock.write_text(text.replace("1003", "1005"))
    with pytest.raises(LockError, match=r"maps\.lock\.json was altered or damaged aft"):
        read_lock(lock)


def test_a_lock_of_the_future(catalog: Path) -> None:
    lock = catalog.with_suffix(".lock.json")
    content = json.loads(lock.read_text("utf-8"))
    lock.write_text(json.dumps(content | {"format": 2, "new": True}))
    with pytest.raises(LockError, match=r"is of format 2, .* reads format 1; upgrade"):
        read_lock(lock)


def test_line_ends_and_spaces_do_not_matter(catalog: Path) -> None:
    lock = catalog.with_suffix(".lock.json")
    text = lock.read_text("utf-8")
    lock.write_bytes(text.replace("\n", "\r\n").encode())
    assert read_lock(lock) == LOCK
    lock.write_text(json.dumps(json.loads(text)))
    assert read_lock(lock) == LOCK
