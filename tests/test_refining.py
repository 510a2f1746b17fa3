"""Less of a result: terms on the records in hand, samples, counts, values."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask.base
import pytest
from asking import SECRET, asked, many_collections

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    FilterError,
    MissingError,
    NeuroVaultWarning,
    UnknownArgumentError,
)
from intake_neurovault.testing import NeuroVaultServer

Ask = Callable[..., SearchResult]

EVERYTHING = {"image_terms": {}, "collection_terms": {}}
T_MAPS = {"image_terms": {"map_type": "T map"}}
Z_MAPS = {"image_terms": {"map_type": "Z map"}}
LARGE = {"image_terms": {"number_of_subjects": {"$gte": 20}}}
STARTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "defaults, all of them": {"max_images": None},
    "a few of the first": {"max_images": 7},
    "everything": EVERYTHING | {"max_images": None},
    "terms": {"image_terms": {"is_thresholded": False, "age": {"$null": True}}},
    "a cap that is just met": {"image_terms": {"collection_id": 658}, "max_images": 20},
    "collections": {"collection_ids": [1952, 658]},
    "collections, a few of them": {"collection_ids": [1952, 658], "max_images": 9},
    "images": {"image_ids": [32016, 10426, 32015, 10410, 10413]},
    "images, a few": {"image_ids": [32016, 10426, 32015, 10410], "max_images": 3},
    "images and collections": {"image_ids": [32016, 10426], "collection_ids": [658]},
    "both, a few": {"image_ids": [32016], "collection_ids": [658], "max_images": 4},
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "terms": Z_MAPS,
    "terms on a field of the start": LARGE,
    "a combination": {"image_terms": {"$or": [{"id": 10426}, {"age": {"$gte": 20}}]}},
    "terms on collections": {"collection_terms": {"DOI": {"$null": False}}},
    "terms on both": Z_MAPS | {"collection_terms": {"id": {"$lt": 1000}}},
    "fewer": {"max_images": 2},
    "terms, and fewer": LARGE | {"max_images": 2},
    "collections": {"collection_ids": [658]},
    "nothing that there is": {"image_terms": {"name": "no such name"}},
    "nothing at all": {"max_images": 0},
    "another grid": {"grid": "mni152-2mm", "nan": "zero", "chunks": 2},
}  # fmt: skip


@pytest.fixture
def ask(fresh_server: NeuroVaultServer, data_dir: Path) -> Ask:
    def ask(**arguments: Any) -> SearchResult:
        settings = {"url": fresh_server.url, "data_dir": data_dir, "retries": 0}
        return search(**(settings | arguments))

    return ask


@pytest.fixture
def elsewhere(server: NeuroVaultServer, tmp_path: Path) -> Callable[..., SearchResult]:
    """Ask as on a machine with an empty store."""

    def elsewhere(arguments: dict[str, Any]) -> SearchResult:
        # What a catalog or a message can hold is all that gets there.
        told = json.loads(json.dumps(arguments))
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        return search(**told | {"data_dir": folder})

    return elsewhere


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep what tests that only read have listed."""
    return tmp_path_factory.mktemp("nilearn_data")


def here(server: NeuroVaultServer, data_dir: Path, **arguments: Any) -> SearchResult:
    return search(url=server.url, data_dir=data_dir, retries=0, **arguments)


def is_even(metadata: Mapping[str, Any]) -> bool:
    return metadata["id"] % 2 == 0


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
@pytest.mark.filterwarnings("ignore:collection_ids. not in this result")
def test_what_is_refined_is_a_query_that_gives_the_same(
    server: NeuroVaultServer,
    store: Path,
    elsewhere: Callable[..., SearchResult],
    start: dict[str, Any],
    change: dict[str, Any],
) -> None:
    whole = here(server, store, **start)
    before = whole.keys()
    server.clear_requests()
    part = whole.search(**change)
    kept = part.keys()
    assert server.requests == []
    assert whole.keys() == before
    assert kept == [each for each in before if each in set(kept)]
    again = elsewhere(part.to_arguments())
    assert again.keys() == kept
    assert again.failures.empty

    # The same to all who compare: in this process, in another, for dask.
    twin = search(**part.to_arguments())
    assert twin == part
    assert hash(twin) == hash(part)
    assert dask.base.tokenize(twin) == dask.base.tokenize(part)
    assert twin.query.fingerprint() == part.query.fingerprint()
    copy = pickle.loads(pickle.dumps(part))
    assert copy == part
    assert copy.keys() == kept


def subjects_of(metadata: Mapping[str, Any]) -> int:
    return metadata.get("number_of_subjects") or 0


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_refining_selects_by_the_records(
    server: NeuroVaultServer, store: Path, start: dict[str, Any]
) -> None:
    whole = here(server, store, **start)
    expected = [each.id for each in whole if subjects_of(each.metadata) >= 20]
    assert whole.search(**LARGE).keys() == expected
    assert whole.search(**LARGE, max_images=2).keys() == expected[:2]


def test_steps_may_be_taken_one_by_one(ask: Ask) -> None:
    at_once = ask(max_images=None, collection_ids=[658]).search(**Z_MAPS | LARGE)
    one_by_one = ask(collection_ids=[658]).search(**Z_MAPS).search(**LARGE)
    assert (
        one_by_one.keys()
        == ask(collection_ids=[658])
        .search(image_terms=Z_MAPS["image_terms"] | LARGE["image_terms"])
        .keys()
    )
    assert set(one_by_one.keys()) <= set(at_once.keys())


def test_a_result_that_was_not_searched_yet_is_searched_once(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    whole = ask(collection_ids=[658])
    assert len(whole.search(**LARGE)) > 0
    assert asked(fresh_server) != []
    assert len(whole.search(**Z_MAPS)) + len(whole) > 0
    assert fresh_server.requests == []


def test_what_stopped_at_its_cap_never_gives_what_was_not_there(ask: Ask) -> None:
    first = ask(**EVERYTHING, max_images=25)
    part = first.search(**T_MAPS)
    assert 0 < len(part) < len(first)
    assert part.query.image_ids == tuple(part.keys())
    assert part.query.max_images is None
    assert "errors" in part.to_arguments()
    assert ask(**EVERYTHING, max_images=None).search(**T_MAPS).query.image_ids == ()
    fewer = first.search(max_images=3)
    assert fewer.query == ask(**EVERYTHING, max_images=3).query


@pytest.mark.parametrize("more", [11, None])
def test_more_than_the_cap_is_refused(ask: Ask, more: int | None) -> None:
    with pytest.raises(ArgumentError, match=r"stopped at its first 10 .* larger max_"):
        ask(**EVERYTHING, max_images=10).search(max_images=more)
    assert len(ask(collection_ids=[658]).search(max_images=more)) in (11, 20)


def test_ids_choose_among_what_is_there(ask: Ask) -> None:
    whole = ask(collection_ids=[658, 1952])
    assert whole.search(image_ids=[32015, 10426]).keys() == [10426, 32015]
    assert whole.search(image_ids="10426").keys() == [10426]
    with pytest.warns(NeuroVaultWarning, match="image_ids: not in this result: 3, 404"):
        assert whole.search(image_ids=[3, 10426, 404]).keys() == [10426]
    with pytest.warns(NeuroVaultWarning, match="collection_ids: not in this result: 3"):
        assert whole.search(collection_ids=[3]).keys() == []
    assert whole.search(image_ids=[]).keys() == []


def test_where_nothing_was_wanted_nothing_is(ask: Ask) -> None:
    nothing = ask(max_images=0)
    assert nothing.search(**LARGE).keys() == []
    assert nothing.sample(0).keys() == []
    with pytest.raises(ArgumentError, match="stopped at its first 0 images"):
        nothing.search(max_images=2)


def test_a_field_that_no_image_here_has_is_told(ask: Ask) -> None:
    with pytest.warns(NeuroVaultWarning, match="'maptype'; did you mean 'map_type'"):
        ask(collection_ids=[658]).search(image_terms={"maptype": "Z map"})


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"image_term": {}}, UnknownArgumentError, "did you mean 'image_terms'"),
        ({"mode": "offline"}, UnknownArgumentError, "cannot change 'mode', since serv"),
        ({"resample": True}, UnknownArgumentError, "choose the grid with grid="),
        ({"max_images": "x"}, ArgumentError, "max_images='x'"),
        ({"image_ids": "x"}, ArgumentError, "image_ids"),
        ({"grid": "mni"}, ArgumentError, "grid"),
        ({"chunks": 0}, ArgumentError, "chunks=0"),
        ({"collection_terms": len}, FilterError, "collection_terms: expected a map"),
        ({"image_terms": {"age": {"$gtt": 3}}}, FilterError, "did you mean"),
    ],
)
def test_senseless_arguments_are_refused(
    ask: Ask, arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ask(collection_ids=[658]).search(**arguments)


def test_reading_may_change_without_a_look_at_the_server(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    whole = ask(collection_ids=[658], grid=None, chunks=3)
    assert len(whole) == 20
    fresh_server.clear_requests()
    part = whole.search(grid=4, chunks="auto", fetch_neurosynth_words=True)
    assert part.discover()["shape"] == (20, 46, 55, 46)
    assert part.query.words
    assert "chunks" not in part.to_arguments()
    assert whole.search(nan="zero").to_arguments()["chunks"] == 3
    assert fresh_server.requests == []
    assert whole.search() == whole


def test_functions_select_as_well_and_cannot_be_written_down(ask: Ask) -> None:
    whole = ask(collection_ids=[658])
    keys = whole.keys()
    part = whole.search(image_terms=is_even)
    assert part.keys() == [each for each in keys if each % 2 == 0]
    rest = part.search(image_terms=lambda image: image["id"] % 3 == 0)
    assert rest.keys() == [each for each in keys if each % 6 == 0]
    assert rest.explain().judged_by.tolist()[-1] == "your function"
    with pytest.raises(FilterError, match="Python function cannot be written"):
        rest.to_arguments()
    rest.close()
    assert rest.keys() == [each for each in keys if each % 6 == 0]


def test_the_account_goes_on(ask: Ask) -> None:
    whole = ask(collection_ids=[658, 1952], image_terms={"map_type": "Z map"})
    part = whole.search(**LARGE, collection_terms={"id": 658})
    table = part.explain()
    assert table.applied_to.tolist() == ["images", "collections", "images"]
    assert table.seen.tolist()[1:2] == [2]
    last = table.iloc[-1]
    assert last.seen - last.removed == len(part)
    assert not table.to_blame.any()


def test_a_private_collection_is_refined_through_its_token(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, elsewhere: Callable[..., SearchResult]
) -> None:
    monkeypatch.setenv("OURS", SECRET)
    whole = ask(collection_ids="env:OURS", max_images=1)
    part = whole.search(image_terms={"id": {"$gt": 0}})
    assert part.query.collection_ids == whole.query.collection_ids
    assert elsewhere(part.to_arguments()).keys() == part.keys() == whole.keys()
    assert whole.search(collection_ids="env:OURS").keys() == whole.keys()
    assert SECRET not in json.dumps(part.to_arguments())


@pytest.mark.parametrize("mode", ["offline", "update", "overwrite", "download_new"])
@pytest.mark.parametrize("start", ["a few of the first", "collections, a few of them"])
def test_refining_keeps_to_the_mode(
    ask: Ask, fresh_server: NeuroVaultServer, mode: str, start: str
) -> None:
    assert ask(**STARTS[start]).keys() != []
    whole = ask(**STARTS[start], mode=mode)
    before = whole.keys()
    fresh_server.clear_requests()
    part = whole.search(image_terms={"id": {"$gt": before[2]}})
    assert part.keys() == [each for each in before if each > before[2]] != []
    assert fresh_server.requests == []
    assert part.to_arguments().get("mode", "download_new") == mode
    copy = pickle.loads(pickle.dumps(part))
    assert copy.keys() == part.keys()
    assert mode != "offline" or fresh_server.requests == []


# ---- samples ---------------------------------------------------------------------


@pytest.mark.parametrize("start", ["defaults", "a few of the first", "collections"])
def test_a_sample_is_the_same_everywhere(
    server: NeuroVaultServer,
    store: Path,
    elsewhere: Callable[..., SearchResult],
    start: str,
) -> None:
    whole = here(server, store, **STARTS[start])
    assert len(whole) >= 7
    server.clear_requests()
    part, keys = whole.sample(4, seed=3), whole.keys()
    assert part.keys() == [each for each in keys if each in set(part.keys())]
    assert len(part) == 4
    assert whole.sample(4, seed=3) == part
    assert set(whole.sample(3, seed=3).keys()) < set(part.keys())
    assert part.matched() == 4
    assert server.requests == []
    assert elsewhere(part.to_arguments()).keys() == part.keys()
    draws = {tuple(whole.sample(4, seed=seed).keys()) for seed in range(20)}
    assert len(draws) > 5


def test_samples_do_not_depend_on_the_version_of_anything(ask: Ask) -> None:
    assert ask(collection_ids=[658]).sample(3).keys() == SAMPLE


SAMPLE: list[int] = [10412, 10422, 10423]


def test_each_image_is_drawn_as_often_as_any_other(ask: Ask) -> None:
    whole = ask(collection_ids=[658])
    drawn = [one for seed in range(400) for one in whole.sample(5, seed=seed)]
    counts = [sum(one.id == each.id for one in drawn) for each in whole]
    assert min(counts) > 60
    assert max(counts) < 150


@pytest.mark.parametrize(
    ("number", "text"),
    [(21, "has 20 images; ask for 0 to 20"), (-1, "0 to 20"), (1.5, "whole number")],
)
def test_a_sample_that_cannot_be_is_refused(ask: Ask, number: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        ask(collection_ids=[658]).sample(number)


# ---- counts ----------------------------------------------------------------------


def test_of_whole_collections_the_server_tells_the_number(
    ask: Ask, fresh_server: NeuroVaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", SECRET)
    whole = ask(collection_ids=[658, 1952, 262, "env:OURS"], max_images=2)
    number = whole.matched()
    queries = [each.query for each in fresh_server.requests]
    assert queries == ["limit=1"] * 4
    fresh_server.clear_requests()
    assert whole.matched() == number
    assert fresh_server.requests == []
    assert len(ask(collection_ids=[658, 1952, 262, "env:OURS"])) == number


def test_what_is_known_is_counted_without_a_request(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    assert len(ask(collection_ids=[658, 1952])) > 2
    fresh_server.clear_requests()
    capped = ask(collection_ids=[658, 1952], max_images=2)
    assert capped.matched() == len(ask(collection_ids=[658, 1952]))
    assert ask(collection_ids=[658], mode="offline", max_images=2).matched() == 20
    assert len(capped) == 2
    assert fresh_server.requests == []


def test_with_terms_the_search_goes_on_beyond_its_cap(ask: Ask) -> None:
    whole = ask(**EVERYTHING, max_images=None)
    assert ask(**EVERYTHING, max_images=5).matched() == len(whole) > 5
    assert ask(**LARGE, max_images=1).matched() == len(ask(**LARGE, max_images=None))
    assert ask(**EVERYTHING, max_images=0).matched() == len(whole)
    odd = ask(collection_ids=[658], max_images=1, image_terms=is_even)
    assert odd.matched() == 11


def test_a_count_notices_what_is_not_there(ask: Ask) -> None:
    with pytest.raises(MissingError, match="404404"):
        ask(collection_ids=[404404]).matched()
    result = ask(collection_ids=[404404, 658], errors="skip")
    assert result.matched() == 20


def test_closing_forgets_the_count(data_dir: Path) -> None:
    with NeuroVaultServer(many_collections(3)) as server:
        result = here(server, data_dir, collection_ids=[1], mode="update")
        assert result.matched() == 2
        server.archive.add_image(1, b"", id=1999)
        assert result.matched() == 2
        result.close()
        assert result.matched() == 3


# ---- values ----------------------------------------------------------------------


def test_values_are_told_by_column(ask: Ask, fresh_server: NeuroVaultServer) -> None:
    for number, tag in ((32015, ["a"]), (32016, ["a"]), (32020, True), (32021, 1)):
        fresh_server.archive.edit_image(number, custom_tag=tag)
    result = ask(collection_ids=[1952, 262])
    table = result.df
    assert result.unique("map_type") == table.map_type.dropna().unique().tolist()
    assert result.unique("collection_id") == [1952, 262]
    assert result.unique("custom_tag") == [["a"], 1, True]
    assert result.unique("bis_bas_score") == []
    whole = result.unique()
    assert whole.index.tolist() == table.columns.tolist()
    assert whole.map(len).tolist() == result.nunique().tolist()
    assert result.nunique()["image_type"] == 2
    with pytest.raises(ArgumentError, match=r"'maptype'.*did you mean 'map_type'"):
        result.unique("maptype")
    with pytest.raises(ArgumentError, match=r"\.df\.columns lists what there is"):
        result.unique("zzz")
