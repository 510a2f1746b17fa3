"""Looking after gridded maps: how many there are, are they whole, away with them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from gridded_maps import GRID, IDS, archive_of_maps, gridded

from intake_neurovault import Cache, layout, search
from intake_neurovault.cli import main
from intake_neurovault.inventory import scan
from intake_neurovault.testing import NeuroVaultServer

Run = Callable[..., Result]
OTHER = 81


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with four maps of two collections, each on two grids."""
    folder = tmp_path_factory.mktemp("filled")
    with NeuroVaultServer(archive_of_maps()) as server:
        for grid in (GRID, 15):
            where: dict[str, Any] = {"url": server.url, "data_dir": folder}
            search(image_ids=[*IDS, OTHER], grid=grid, **where).read()
    return folder


@pytest.fixture
def cache(template: Path, data_dir: Path) -> Cache:
    """Give a copy that a test may spoil."""
    shutil.copytree(template, data_dir, dirs_exist_ok=True)
    return Cache.parse(data_dir, workers=2, progress=False)


@pytest.fixture
def run(cache: Cache) -> Run:
    def invoke(*arguments: str) -> Result:
        command = ["cache", *arguments, "--data-dir", str(cache.root.parent)]
        return CliRunner().invoke(main, command, catch_exceptions=False)

    return invoke


def maps_of(cache: Cache, image_id: int | str = "*") -> list[Path]:
    return gridded(cache.root.parent, image_id)


# ---- what is there -----------------------------------------------------------------


def test_every_map_is_known_by_name(cache: Cache) -> None:
    items = list(scan(cache.root).of("gridded"))
    assert len(items) == 8
    assert {item.collection_id for item in items} == {7, 8}
    assert {item.image_id for item in items} == {*IDS, OTHER}
    assert cache.info().others.files == 0


def test_how_many_there_are(cache: Cache) -> None:
    found = cache.info().gridded
    sizes = [path.stat().st_size for path in maps_of(cache)]
    assert (found.files, found.bytes) == (8, sum(sizes))
    assert cache.info(8).gridded.files == 2
    assert cache.info().derived.files == len(list(scan(cache.root).of("derived")))
    assert cache.info().to_json()["gridded"] == {"files": 8, "bytes": sum(sizes)}


def test_the_command_tells_it(run: Run, cache: Cache) -> None:
    [line] = [each for each in run("info").stdout.splitlines() if "gridded " in each]
    assert line.split()[:2] == ["gridded", "8"]
    assert line.endswith("maps on a grid, made again when needed")
    assert len(line) <= 80
    assert json.loads(run("info", "--json").stdout)["gridded"]["files"] == 8


def test_only_our_names_are_ours(cache: Cache) -> None:
    place = maps_of(cache)[0]
    for name in ("image_71.nii.gz", "image_x.nii", "thesis.docx"):
        (place.parent / name).write_bytes(b"mine")
    elsewhere = place.parents[2] / "mni152-3mm" / "collection_7" / "image_71.nii"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"a resampled file")
    kinds = {item.path.rpartition("/")[2]: item.kind for item in scan(cache.root).items}
    assert kinds["image_71.nii.gz"] != "gridded"
    assert kinds["thesis.docx"] == "other"
    assert len(list(scan(cache.root).of("gridded"))) == 8


# ---- are they whole ----------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path, 1000)


def zeroed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-2000, os.SEEK_END)
        file.write(bytes(2000))


def swapped(path: Path) -> None:
    other = next(p for p in path.parents[2].rglob(path.name) if p != path)
    shutil.copy(other, path)


@pytest.mark.parametrize("spoil", [cut, zeroed, swapped])
def test_a_damaged_map_is_removed(
    spoil: Callable[[Path], None], run: Run, cache: Cache
) -> None:
    assert cache.verify().findings == ()
    path = maps_of(cache)[0]
    spoil(path)
    looked = cache.verify(dry_run=True)
    assert [(each.problem, each.kind) for each in looked.findings] == [
        ("spoiled", "gridded")
    ]
    assert "it can be made again." in looked.findings[0].reason
    assert path.exists()
    found = run("verify")
    assert found.exit_code == 0
    assert "can be made again, and was removed." in " ".join(found.stdout.split())
    assert "Every file is whole." in found.stdout
    assert not path.exists()
    assert cache.verify().findings == ()
    assert list(scan(cache.root).of("quarantined")) == []


def test_damage_for_machines(run: Run, cache: Cache) -> None:
    path = maps_of(cache, OTHER)[0]
    cut(path)
    read = json.loads(run("verify", "--json").stdout)
    assert read["whole"] is True
    [finding] = read["findings"]
    assert finding["problem"] == "spoiled"
    assert finding["path"] == path.relative_to(cache.root).as_posix()
    assert (finding["image_id"], finding["collection_id"]) == (OTHER, 8)


# ---- away with them ----------------------------------------------------------------


def test_derived_is_cleared(run: Run, cache: Cache) -> None:
    images = len(list(scan(cache.root).of("image")))
    planned = cache.plan(derived=True).summary()
    assert ("gridded", 8) in [each[:2] for each in planned]
    done = run("clear", "--derived", "--yes")
    assert done.exit_code == 0
    assert maps_of(cache) == []
    assert not (cache.root / layout.OURS / "gridded").exists()
    assert len(list(scan(cache.root).of("image"))) == images == 4


def test_a_map_whose_original_is_gone_cannot_be_made_again(cache: Cache) -> None:
    (cache.root / layout.image_path(7, 71)).unlink()
    cache.clear(derived=True)
    assert {path.name for path in maps_of(cache)} == {"image_71.nii"}
    cache.clear(collection_ids=7)
    assert maps_of(cache) == []


def test_a_collection_goes_with_its_maps(cache: Cache) -> None:
    cache.clear(collection_ids=8)
    assert maps_of(cache, OTHER) == []
    assert len(maps_of(cache)) == 6
    cache.clear(collection_ids=7, derived=True)
    assert maps_of(cache) == []
    assert len(list(scan(cache.root).of("image"))) == 3


def test_maps_go_by_age_with_their_images(cache: Cache) -> None:
    receipt = cache.root / layout.receipt_path(7, 71)
    content = json.loads(receipt.read_text())
    receipt.write_text(json.dumps(content | {"added": time.time() - 30 * 86400}))
    assert cache.clear(older_than="60d").removed == 0
    cache.clear(older_than="20d")
    assert maps_of(cache, 71) == []
    assert len(maps_of(cache)) == 6


def test_everything_goes(cache: Cache) -> None:
    cache.clear(everything=True)
    assert list(scan(cache.root).items) == []
