"""Surface files: fetched like the images, kept beside them, looked after with them."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from asking import asked, kept_texts
from click.testing import CliRunner
from nilearn.datasets import fetch_neurovault_ids
from trees import gzipped, tree

import intake_neurovault
from intake_neurovault import Cache, Image, SearchResult, search
from intake_neurovault.cli import main
from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    LockError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    ServerError,
)
from intake_neurovault.hemispheres import hemisphere_of, surface_path
from intake_neurovault.surfaces import surface_of, surfaces_of
from intake_neurovault.testing import (
    Archive,
    Fault,
    NeuroVaultServer,
    add_surfaces,
    gifti_bytes,
)

SECRET = "QXJVZKWP"
LEFT = gifti_bytes(np.arange(642, dtype="f4"), "left")
RIGHT = gifti_bytes(np.arange(642, dtype="f4")[::-1].copy(), "right")
OTHER = gifti_bytes(np.zeros(642, dtype="f4"), "left")
BOTH, ALONE, NONE, HIDDEN = 101, 102, 103, 501
AT_LEFT, AT_RIGHT = (surface_path(1, BOTH, side) for side in ("left", "right"))
LH = r"lh\.func\.gii"
Ask = Callable[..., SearchResult]


def archive_on_the_cortex() -> Archive:
    """Images with two hemispheres, with one and with none; and a private one."""
    archive = Archive()
    archive.add_collection("On the cortex", id=1)
    for number in (BOTH, ALONE, NONE):
        archive.add_image(1, gzipped(number), id=number)
    add_surfaces(archive, BOTH, left=LEFT, right=RIGHT, name="happy #1 100% + é"[:-1])
    add_surfaces(archive, ALONE, left=LEFT)
    archive.add_collection("Hidden", id=5, token=SECRET)
    archive.add_image(5, gzipped(5), id=HIDDEN)
    add_surfaces(archive, HIDDEN, left=LEFT, right=RIGHT)
    return archive


@pytest.fixture
def nv() -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(archive_on_the_cortex()) as running:
        yield running


@pytest.fixture
def ask(nv: NeuroVaultServer, data_dir: Path) -> Ask:
    def query(**arguments: Any) -> SearchResult:
        settings = {"collection_ids": [1], "url": nv.url, "data_dir": data_dir}
        return search(**{**settings, "retries": 0, "image_terms": {}, **arguments})

    return query


def bytes_of(found: dict[int, dict[Any, Path]]) -> dict[int, dict[str, bytes]]:
    return {
        number: {side: path.read_bytes() for side, path in paths.items()}
        for number, paths in found.items()
    }


# ---- which there are ------------------------------------------------------------


@pytest.mark.parametrize("name", ["#1 of 2.gii", "100%.gii", "a+b.gii", "é.gii"])
def test_addresses_are_read_unquoted(name: str) -> None:
    raw = {
        "id": 3,
        "collection_id": 1,
        "url": "http://localhost:8000/images/3/",
        "surface_left_file": f"http://localhost:8000/media/images/1/{name}",
        "surface_right_file": "null",
    }
    server = "https://neurovault.org"
    image = Image.from_json(raw, base_url=server)
    file = surfaces_of(image, server)["left"]
    assert file.host is None
    assert file.path.startswith("/media/images/1/")
    assert "#" not in file.path
    assert " " not in file.path
    assert surface_of(image, "right", server) is None


def test_what_cannot_be_an_address_is_told_and_harms_no_other() -> None:
    raw = {
        "id": 3,
        "collection_id": 1,
        "surface_left_file": "ftp://x/../y.gii",
        "surface_right_file": "/media/images/1/rh.gii",
    }
    image = Image.from_json(raw, base_url="https://neurovault.org")
    assert list(surfaces_of(image, "https://neurovault.org")) == ["right"]
    with pytest.raises(AnswerError, match="as the address of a file"):
        surface_of(image, "left", "https://neurovault.org")


def test_only_names_of_surfaces_name_a_hemisphere() -> None:
    with pytest.raises(ValueError, match="is not the path of a surface file"):
        hemisphere_of("collection_1/image_3.nii.gz")


# ---- fetched --------------------------------------------------------------------


def test_each_is_fetched_once_and_lies_beside_its_image(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path
) -> None:
    result = ask()
    found = result.fetch_surfaces()
    assert bytes_of(found) == {
        BOTH: {"left": LEFT, "right": RIGHT},
        ALONE: {"left": LEFT},
    }
    assert found[BOTH]["left"] == data_dir / "neurovault" / AT_LEFT
    assert len(asked(nv, "/media/")) == 3
    assert ask().fetch_surfaces() == found
    assert asked(nv, "/media/") == []
    assert result.failures.empty
    assert {path.suffix for path in data_dir.rglob("image_1*") if path.is_file()} == {
        ".gii",
        ".json",
    }


def test_names_that_the_server_leaves_unquoted_are_asked_for_quoted(
    nv: NeuroVaultServer, ask: Ask
) -> None:
    ask(image_terms={"id": BOTH}).fetch_surfaces()
    (left, _) = asked(nv, "/media/")
    assert left.endswith("/happy%20%231%20100%25%20+%20.fsaverage.lh.func.gii")


def test_nobody_is_surprised_where_there_is_none(ask: Ask) -> None:
    with pytest.warns(NeuroVaultWarning, match="No image of this result has surf"):
        assert ask(image_terms={"id": NONE}).fetch_surfaces() == {}


def test_surfaces_are_found_by_their_field(ask: Ask) -> None:
    found = ask(image_terms={"surface_right_file": {"$null": False}})
    assert found.keys() == [BOTH]
    assert ask(image_terms={"data_origin": "surface"}).keys() == [BOTH, ALONE]


@pytest.mark.parametrize(
    "kind", ["short_body", "truncated_close", "reset_body", "html"]
)
def test_a_passing_fault_is_overcome(nv: NeuroVaultServer, ask: Ask, kind: Any) -> None:
    nv.faults.append(Fault(match=LH, kind=kind, times=1))
    found = ask(image_terms={"id": BOTH}, retries=2, timeout=5).fetch_surfaces()
    assert bytes_of(found) == {BOTH: {"left": LEFT, "right": RIGHT}}


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("html", CorruptFileError, "looks like an HTML page"),
        ("bad_json", CorruptFileError, "is not whole XML"),
        ("truncated_close", CorruptFileError, "is not whole XML"),
        ("short_body", ServerError, "Left surface of image 101"),
        ("reset", ServerError, "Left surface of image 101"),
        ("500", ServerError, "Left surface of image 101"),
    ],
)
def test_a_lasting_fault_is_reported_with_its_hemisphere(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path, kind: Any, error: Any, reason: str
) -> None:
    nv.faults.append(Fault(match=LH, kind=kind))
    result = ask(image_terms={"id": BOTH}, errors="skip", retries=1)
    assert bytes_of(result.fetch_surfaces()) == {BOTH: {"right": RIGHT}}
    (row,) = result.failures.to_dict("records")
    assert row["id"] == BOTH
    assert row["reason"].startswith("Left surface of image 101 (collection 1)")
    assert row["url"].endswith(".lh.func.gii")
    assert not (data_dir / "neurovault" / AT_LEFT).exists()
    with pytest.raises(error, match=reason):
        ask(image_terms={"id": BOTH}, errors="raise", retries=1).fetch_surfaces()
    nv.faults.clear()
    assert bytes_of(result.fetch_surfaces())[BOTH]["left"] == LEFT
    assert result.failures.empty


def test_the_same_damaged_bytes_twice_are_what_the_server_has(
    nv: NeuroVaultServer, ask: Ask
) -> None:
    nv.archive.files["/media/images/1/image_102.fsaverage.lh.func.gii"] = (
        nv.archive.files[nv.archive.images[NONE]["file"]]
    )
    with pytest.raises(CorruptFileError, match="Left surface of image 102"):
        ask(image_terms={"id": ALONE}, errors="raise", retries=5).fetch_surfaces()
    assert len(asked(nv, "/media/")) == 2


def test_a_file_that_is_gone_is_missing(nv: NeuroVaultServer, ask: Ask) -> None:
    del nv.archive.files["/media/images/1/image_102.fsaverage.lh.func.gii"]
    with pytest.raises(MissingError, match=r"Left surface of image 102 .*no file at"):
        ask(image_terms={"id": ALONE}, errors="raise").fetch_surfaces()


def test_a_gzipped_file_is_inflated_and_not_too_far(
    nv: NeuroVaultServer, ask: Ask
) -> None:
    nv.faults.append(Fault(match=LH, kind="gzip"))
    found = ask(image_terms={"id": ALONE}).fetch_surfaces()
    assert bytes_of(found) == {ALONE: {"left": LEFT}}
    nibabel.load(found[ALONE]["left"])


def test_a_gzipped_file_of_zeros_is_refused(nv: NeuroVaultServer, ask: Ask) -> None:
    add_surfaces(nv.archive, NONE, left=gzip.compress(bytes(1 << 24), 9))
    with pytest.raises(
        CorruptFileError, match=r"surface of image 103 .* not whole XML"
    ):
        ask(image_terms={"id": NONE}, errors="raise").fetch_surfaces()


def test_other_hosts_have_to_be_trusted(nv: NeuroVaultServer, ask: Ask) -> None:
    with NeuroVaultServer(archive_on_the_cortex()) as elsewhere:
        place = "/media/images/1/image_102.fsaverage.lh.func.gii"
        nv.archive.images[ALONE]["surface_left_file"] = f"{elsewhere.url}{place}"
        with pytest.raises(
            AnswerError, match=r"Left surface of image 102.*trusted_hos"
        ):
            ask(image_terms={"id": ALONE}, errors="raise").fetch_surfaces()
        host = elsewhere.url.removeprefix("http://")
        found = ask(image_terms={"id": ALONE}, trusted_hosts=[host]).fetch_surfaces()
        assert bytes_of(found) == {ALONE: {"left": LEFT}}


def test_many_at_once_download_each_once(nv: NeuroVaultServer, ask: Ask) -> None:
    barrier = threading.Barrier(6)

    def fetch(_: int) -> dict[int, dict[Any, Path]]:
        barrier.wait()
        return ask().fetch_surfaces()

    with ThreadPoolExecutor(6) as threads:
        first, *others = threads.map(fetch, range(6))
    assert all(each == first for each in others)
    assert len(asked(nv, "/media/")) == 3


# ---- modes ----------------------------------------------------------------------


def test_offline_asks_nothing(nv: NeuroVaultServer, ask: Ask) -> None:
    ask(image_terms={"id": ALONE}).fetch_surfaces()
    asked(nv)
    assert list(ask(mode="offline", errors="skip").fetch_surfaces()) == [ALONE]
    with pytest.raises(
        OfflineError, match=r"The left surface of image 101 .* is not in"
    ):
        ask(mode="offline", errors="raise").fetch_surfaces()
    assert asked(nv) == []


def test_offline_they_are_found_by_the_number_of_their_image(
    nv: NeuroVaultServer, ask: Ask
) -> None:
    wanted = {"image_ids": [ALONE], "collection_ids": None, "image_terms": None}
    ask(**wanted).fetch_surfaces()
    asked(nv)
    found = ask(**wanted, mode="offline").fetch_surfaces()
    assert bytes_of(found) == {ALONE: {"left": LEFT}}
    assert asked(nv) == []


def test_update_fetches_what_changed_and_overwrite_all(
    nv: NeuroVaultServer, ask: Ask
) -> None:
    ask().fetch_surfaces()
    asked(nv)
    nv.archive.edit_image(BOTH, name="another name")
    ask(mode="update").fetch_surfaces()
    # NOTE: whether a file was changed when its record was is asked without its body.
    statuses = [each.status for each in nv.requests if each.path.startswith("/media/")]
    assert statuses == [304, 304]
    asked(nv)
    add_surfaces(nv.archive, ALONE, left=OTHER)
    nv.archive.edit_image(ALONE)
    assert bytes_of(ask(mode="update").fetch_surfaces())[ALONE] == {"left": OTHER}
    assert len(asked(nv, "/media/")) == 1
    assert bytes_of(ask(mode="overwrite").fetch_surfaces())[BOTH]["left"] == LEFT
    assert len(asked(nv, "/media/")) == 3


def test_what_is_damaged_on_disk_is_had_again(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path
) -> None:
    path = ask(image_terms={"id": ALONE}).fetch_surfaces()[ALONE]["left"]
    path.write_bytes(LEFT[:-20])
    with pytest.warns(NeuroVaultWarning, match="is not whole XML.*moved to"):
        found = ask(image_terms={"id": ALONE}).fetch_surfaces()
    assert bytes_of(found) == {ALONE: {"left": LEFT}}


def test_frozen_results_refuse(ask: Ask, tmp_path: Path) -> None:
    result = ask(image_terms={"id": ALONE})
    result.freeze(tmp_path / "maps.yaml")
    frozen = intake_neurovault.open_entry(f"{tmp_path / 'maps.yaml'}:maps")
    with pytest.raises(LockError, match=r"Surface files are not frozen.*thaw\(\)"):
        frozen.fetch_surfaces()


# ---- private --------------------------------------------------------------------


def test_a_private_collections_token_is_written_nowhere(
    nv: NeuroVaultServer,
    ask: Ask,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("LAB", SECRET)
    caplog.set_level("DEBUG", logger="intake_neurovault")
    result = ask(collection_ids=["env:LAB"], errors="skip")
    assert bytes_of(result.fetch_surfaces()) == {HIDDEN: {"left": LEFT, "right": RIGHT}}
    assert SECRET in "".join(asked(nv, "/media/"))
    nv.faults.append(Fault(match=LH, kind="html"))
    Path(result.fetch_surfaces()[HIDDEN]["left"]).unlink()
    result.fetch_surfaces()
    shown = f"{result.failures.to_dict()} {result[HIDDEN]} {result[HIDDEN].surfaces}"
    assert "Left surface of image 501" in shown
    # NOTE: the server runs in this process, and logs what it was asked for.
    ours = [each for each in caplog.records if ".testing" not in each.name]
    logged = "\n".join(each.getMessage() for each in ours)
    for text in (shown, logged, json.dumps(result[HIDDEN].to_json())):
        assert SECRET not in text
    assert SECRET.encode() not in kept_texts(data_dir)


# ---- looked after ---------------------------------------------------------------


def test_nilearn_reads_the_tree_as_if_there_were_none(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path
) -> None:
    ask(image_terms={"id": [BOTH, NONE]}).fetch()
    before = fetch_neurovault_ids(
        image_ids=[BOTH], mode="offline", data_dir=str(data_dir), verbose=0
    )
    ask().fetch_surfaces()
    after = fetch_neurovault_ids(
        collection_ids=[1], mode="offline", data_dir=str(data_dir), verbose=0
    )
    assert before.images[0] in after.images
    assert len(after.images) == 2


def test_the_store_counts_verifies_and_clears_them(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path
) -> None:
    result = ask()
    result.fetch()
    found = result.fetch_surfaces()
    cache = Cache.parse(data_dir, progress=False)
    info = cache.info()
    assert info.surfaces.files == 3
    assert info.surfaces.bytes == 2 * len(LEFT) + len(RIGHT)
    assert info.others.files == 0
    assert (info.images.files, info.verified) == (3, 3)
    assert cache.collections()["surfaces"].tolist() == [3]
    assert cache.verify().whole
    shown = CliRunner().invoke(main, ["cache", "info", "--data-dir", str(data_dir)])
    assert "surfaces" in shown.output
    found[BOTH]["left"].write_bytes(LEFT[:-30])
    found[BOTH]["right"].unlink()
    report = cache.verify()
    seen = {(each.problem, each.path) for each in report.findings}
    assert seen == {("damaged", AT_LEFT), ("missing", AT_RIGHT)}
    done = cache.repair(url=nv.url, retries=0)
    assert done.whole
    assert done.mended.images == (BOTH,)
    assert bytes_of(found)[BOTH] == {"left": LEFT, "right": RIGHT}
    # NOTE: the volumes were whole, and were left alone.
    assert sum(".nii.gz" in each for each in asked(nv, "/media/")) == 3
    assert cache.clear(collection_ids=1).left == ()
    assert list((data_dir / "neurovault").glob("collection_1")) == []


def test_what_others_changed_is_replaced_if_there_is_another(
    nv: NeuroVaultServer, ask: Ask, data_dir: Path
) -> None:
    place = ask(image_terms={"id": ALONE}).fetch_surfaces()[ALONE]["left"]
    place.write_bytes(OTHER)
    cache = Cache.parse(data_dir, progress=False)
    assert [each.problem for each in cache.verify().findings] == ["changed"]
    nv.faults.append(Fault(match=LH, kind="500"))
    assert not cache.repair(url=nv.url, retries=0).whole
    assert place.read_bytes() == OTHER
    nv.faults.clear()
    assert cache.repair(url=nv.url, retries=0).whole
    assert place.read_bytes() == LEFT


def test_by_age_they_go_with_the_youngest_of_their_image(
    ask: Ask, data_dir: Path
) -> None:
    result = ask(image_terms={"id": ALONE})
    result.fetch_surfaces()
    cache = Cache.parse(data_dir, progress=False)
    root = data_dir / "neurovault"
    assert cache.plan(older_than="1d").items == ()
    for path in root.rglob(f"*{ALONE}*"):
        os.utime(path, (1, 1))
    kinds = [item.kind for item in cache.plan(older_than="1d").items]
    assert kinds == ["copy", "surface", "surface receipt", "about"]


def test_a_dry_run_changes_nothing(ask: Ask, data_dir: Path) -> None:
    place = ask(image_terms={"id": ALONE}).fetch_surfaces()[ALONE]["left"]
    place.write_bytes(b"<html></html>")
    before = tree(data_dir)
    report = Cache.parse(data_dir, progress=False).verify(dry_run=True)
    assert [each.problem for each in report.findings] == ["damaged"]
    assert "an HTML page" in report.findings[0].reason
    assert tree(data_dir) == before


# ---- told -----------------------------------------------------------------------


def test_about_an_image_says_where_they_are(nv: NeuroVaultServer, ask: Ask) -> None:
    result = ask(image_terms={"id": ALONE})
    before = result[ALONE]
    assert before.kept.surfaces["left"].size is None
    assert "left surface  not downloaded yet" in before.text()
    place = result.fetch_surfaces()[ALONE]["left"]
    about = result[ALONE]
    assert list(about.surfaces) == ["left"]
    assert about.addresses()["left surface"].startswith(f"{nv.url}/media/images/1/")
    assert str(place) in about.text()
    assert about.to_json()["disk"]["surfaces"]["left"]["bytes"] == len(LEFT)
    assert len(about.to_json()["disk"]["surfaces"]["left"]["sha256"]) == 64


def test_the_command_line_fetches_them(nv: NeuroVaultServer, data_dir: Path) -> None:
    arguments = ["fetch", "--url", nv.url, "--data-dir", str(data_dir), "--surfaces"]
    query = ["--collection-ids", "1", "-w", "surface_left_file"]
    done = CliRunner().invoke(main, [*arguments, *query])
    assert done.exit_code == 0, done.output
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [
        [str(BOTH), "left"],
        [str(BOTH), "right"],
        [str(ALONE), "left"],
    ]
    done = CliRunner().invoke(main, [*arguments, *query, "--json"])
    assert done.exit_code == 0
    (first, *_) = json.loads(done.stdout)["files"]
    assert first["hemisphere"] == "left"
    assert first["collection_id"] == 1


def test_the_command_line_says_where_there_is_none(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    arguments = ["fetch", "--url", nv.url, "--data-dir", str(data_dir), "--surfaces"]
    done = CliRunner().invoke(main, [*arguments, "--image-ids", str(NONE)])
    assert done.exit_code == 1
    assert "No image of this result has surface files" in done.stderr
