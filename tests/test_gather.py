"""Searching and fetching at the same time: the same answer, sooner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import BusyServer, asked, find, ids, many_collections, vault_of
from trees import gzipped

from intake_neurovault import search
from intake_neurovault.errors import CorruptFileError, NeuroVaultWarning, ServerError
from intake_neurovault.query import Query
from intake_neurovault.testing import Fault, NeuroVaultServer

ANY = {"image_terms": {}, "collection_terms": {}}
MEDIA, LIST = "^/media/", r"^/api/collections/\d+/images/"


def order_of(server: NeuroVaultServer) -> list[str]:
    kinds = {"media": "file", "collections": "list"}
    asked = (each.path.split("/") for each in server.requests)
    return [kinds.get(parts[1], kinds.get(parts[2], "")) for parts in asked]


@pytest.fixture
def many() -> Any:
    with NeuroVaultServer(many_collections(30, 4, gzipped(1))) as server:
        yield server


def test_files_come_while_lists_are_looked_through(
    many: NeuroVaultServer, data_dir: Path
) -> None:
    found, fetched = vault_of(many, data_dir).gather(Query.parse(**ANY))
    order = order_of(many)
    assert order.index("file") < len(order) - order[::-1].index("list") - 1
    assert ids(found.images) == [
        1000 * number + place for number in range(1, 26) for place in range(4)
    ]
    assert found.truncated
    assert [path.name for path in fetched.paths if path] == [
        f"image_{number}.nii.gz" for number in ids(found.images)
    ]
    assert len(asked(many, MEDIA)) == 100
    vault = vault_of(many, data_dir)
    again, kept = vault.gather(Query.parse(**ANY))
    assert (again.images, kept) == (found.images, fetched)
    assert asked(many) == []


@pytest.mark.parametrize(
    "query",
    [
        {**ANY, "max_images": 7},
        {**ANY, "max_images": 0},
        {"collection_ids": [3, 1]},
        {"image_ids": [2001, 1000, 2000]},
        {"image_terms": {"id": {"$gte": 28_000}}, "collection_terms": {}},
    ],
)
def test_the_answer_is_that_of_one_after_the_other(
    many: NeuroVaultServer, tmp_path: Path, query: dict[str, Any]
) -> None:
    found, fetched = vault_of(many, tmp_path / "a").gather(Query.parse(**query))
    vault = vault_of(many, tmp_path / "b")
    first = vault.search(Query.parse(**query))
    second = vault.fetch(first.images)
    assert replace(found, fetched=None) == replace(first, fetched=None)
    names = [[path and path.name for path in each.paths] for each in (fetched, second)]
    assert names[0] == names[1]
    assert fetched.failures == second.failures == ()


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_lists_and_files_share_the_workers(data_dir: Path, workers: int) -> None:
    archive = many_collections(12, 2, gzipped(1))
    with BusyServer(archive, "", 0.02) as server:
        vault = vault_of(server, data_dir, workers=workers)
        _, fetched = vault.gather(Query.parse(**ANY))
    assert len(fetched.paths) == 24
    assert server.most <= workers
    assert (server.most > 1) is (workers > 1)


def test_no_more_lists_are_asked_for_than_will_do(data_dir: Path) -> None:
    with NeuroVaultServer(many_collections(60, 10)) as server:
        found = find(server, data_dir, workers=8, max_images=200, **ANY)
        assert len(asked(server, LIST)) == 20
    assert len(found.images) == 200


def test_where_little_matches_lists_are_looked_through_all_the_same(
    data_dir: Path,
) -> None:
    terms = {"image_terms": {"id": {"$gte": 59_000}}, "collection_terms": {}}
    with BusyServer(many_collections(60, 4), LIST, 0.01, expected=5) as server:
        found = find(server, data_dir, workers=8, max_images=5, **terms)
        assert len(asked(server, LIST)) == 60
        assert server.most > 4
    assert ids(found.images) == [*range(59_000, 59_004), 60_000]


def test_a_search_that_raises_keeps_the_files_it_came_to(
    many: NeuroVaultServer, data_dir: Path
) -> None:
    many.faults.append(Fault(match="collections/20/images", kind="html"))
    result = search(
        url=many.url,
        data_dir=data_dir,
        errors="raise",
        retries=0,
        workers=2,
        progress=False,
        **ANY,
    )
    with pytest.raises(ServerError, match="answered a web page where JSON"):
        result.fetch()
    kept = sorted(path.name for path in data_dir.rglob("image_*.nii.gz"))
    assert "image_1000.nii.gz" in kept
    assert not list(data_dir.rglob(".part-*"))


def test_a_file_that_cannot_be_had_ends_the_search_too(
    many: NeuroVaultServer, data_dir: Path
) -> None:
    many.faults.append(Fault(match="images/2/", kind="html"))
    result = search(
        url=many.url,
        data_dir=data_dir,
        errors="raise",
        retries=0,
        progress=False,
        **ANY,
    )
    with pytest.raises(CorruptFileError, match="it looks like an HTML or XML page"):
        result.fetch()
    assert list(result.failures.id) == [2000]
    assert len(asked(many, LIST)) < 30


def test_under_warn_each_failure_is_told_once(
    many: NeuroVaultServer, data_dir: Path
) -> None:
    many.faults.append(Fault(match="images/2/", kind="html"))
    many.faults.append(Fault(match="collections/3/images", kind="html"))
    result = search(url=many.url, data_dir=data_dir, retries=0, progress=False, **ANY)
    with (
        pytest.warns(NeuroVaultWarning, match="4 things could not be fetched"),
        pytest.warns(NeuroVaultWarning, match="1 thing could not be listed"),
    ):
        paths = result.fetch()
    assert len(paths) == 96
    assert len(result) == 100
    assert sorted(result.failures.id.dropna()) == [2000, 2001, 2002, 2003]
    asked(many)
    assert result.df.id.tolist() == result.keys()
    assert asked(many) == []


def test_a_bar_grows_with_what_is_found(
    many: NeuroVaultServer, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(url=many.url, data_dir=data_dir, progress=True, **ANY).fetch()
    text = capsys.readouterr().err
    assert "3.09M/3.09M" in text
    assert 100 * len(gzipped(1)) == pytest.approx(3.09e6, rel=0.01)


@pytest.mark.parametrize("workers", [1, 4, 16])
def test_how_far_ahead_is_looked_does_not_change_the_account(
    data_dir: Path, workers: int
) -> None:
    archive = many_collections(30, 3)
    for number in range(1, 31, 2):
        archive.collections[number]["owner"] = 7
    terms = {"image_terms": {}, "collection_terms": {"owner": 7}}
    with NeuroVaultServer(archive) as server:
        cold = find(server, data_dir, workers=workers, max_images=7, **terms)
        warm = find(server, data_dir, workers=workers, max_images=7, **terms)
    assert ids(cold.images) == [1000, 1001, 1002, 3000, 3001, 3002, 5000]
    # NOTE: of the collections 1 to 5, two are another owner's.
    assert [step.removed for step in cold.steps] == [2]
    assert warm.steps == cold.steps
