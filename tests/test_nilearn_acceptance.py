"""What nilearn promises of its fetcher, asked of ours.

Each test takes up what one of nilearn's own tests asserts about public behaviour,
on an archive and a server of ours. Where nilearn's promise has a defect, the test
says so, and asserts the promise without it.
"""

from __future__ import annotations

import inspect
import json
import pickle
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import nilearn.datasets
import numpy as np
import pytest
from asking import asked, many_collections
from nilearn.datasets import neurovault
from studies import content, point_us_at
from trees import gzipped

import intake_neurovault
from intake_neurovault import (
    STD_AFFINE,
    AnswerError,
    ArgumentError,
    Contains,
    GreaterOrEqual,
    GreaterThan,
    IsIn,
    IsNull,
    LessOrEqual,
    LessThan,
    MissingError,
    NeuroVaultWarning,
    NotContains,
    NotEqual,
    NotIn,
    NotNull,
    Pattern,
    ResultFilter,
    ServerError,
    UnreachableError,
    basic_collection_terms,
    basic_image_terms,
    fetch_neurovault,
    fetch_neurovault_ids,
    neurosynth_words_vectorized,
)
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer

NOT_STATISTICS = ("ROI/mask", "anatomical", "parcellation")
LIMITS = {"retries": 0, "verbose": 0}
"""Nobody waits for a second attempt."""


def varied_archive() -> Archive:
    """Ten collections with eighty images, of which the usual terms leave half."""
    archive = Archive()
    draw = random.Random(4)  # noqa: S311 - sample data
    for home in range(1, 11):
        archive.add_collection(f"study {home}", id=home, DOI=f"10.5555/{home}")
        for place in range(8):
            archive.add_image(
                home,
                gzipped(place),
                id=100 * home + place,
                map_type=draw.choice(("Z map", "T map", "T map", *NOT_STATISTICS[:2])),
                not_mni=draw.random() < 0.1,
                is_thresholded=draw.random() < 0.1,
            )
    archive.add_image(3, gzipped(9), id=999, image_type="atlas")
    archive.add_collection("nothing yet", id=11)
    return archive


@pytest.fixture
def nv(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeuroVaultServer]:
    """Serve the varied archive."""
    with NeuroVaultServer(varied_archive()) as running:
        point_us_at(running.url, monkeypatch)
        yield running


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[NeuroVaultServer]:
    """Serve two collections of maps with voxels of 6 mm."""
    archive = Archive()
    for home in (1, 2):
        archive.add_collection(f"study {home}", id=home)
        for number in range(1000 * home, 1000 * home + 4):
            archive.add_image(home, content(number), id=number)
    with NeuroVaultServer(archive) as running:
        point_us_at(running.url, monkeypatch)
        yield running


def ids_of(bunch: Any) -> list[int]:
    return [meta["id"] for meta in bunch.images_meta]


# ---- names ----------------------------------------------------------------------

FUNCTIONS = (
    "fetch_neurovault",
    "fetch_neurovault_ids",
    "fetch_neurovault_auditory_computation_task",
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_nilearns_take(name: str) -> None:
    """The same arguments in the same order with the same defaults, and more."""
    theirs = inspect.signature(getattr(nilearn.datasets, name)).parameters
    ours = dict(inspect.signature(getattr(intake_neurovault, name)).parameters)
    if name == "fetch_neurovault" and "interpolation" not in theirs:
        # nilearn has it, among the others, from 0.14.1 on.
        del ours["interpolation"]
    for (key, given), place in zip(theirs.items(), ours, strict=False):
        if given.kind is inspect.Parameter.VAR_KEYWORD:
            assert list(ours)[-1] == key
            continue
        assert place == key
        default = ours[key].default
        assert callable(default) or default == given.default
    extra = [p for k, p in ours.items() if k not in theirs]
    assert {p.kind for p in extra} == {inspect.Parameter.KEYWORD_ONLY}


PUBLIC = (
    *FUNCTIONS,
    *("basic_collection_terms", "basic_image_terms", "neurosynth_words_vectorized"),
    *("ResultFilter", "IsNull", "NotNull", "NotEqual", "GreaterOrEqual"),
    *("GreaterThan", "LessOrEqual", "LessThan", "IsIn", "NotIn", "Contains"),
    *("NotContains", "Pattern", "STD_AFFINE"),
)


@pytest.mark.parametrize("name", PUBLIC)
def test_nilearns_names_are_here(name: str) -> None:
    assert hasattr(neurovault, name)
    assert name in intake_neurovault.__all__
    assert hasattr(intake_neurovault, name)


def test_the_affine_and_the_terms_are_nilearns() -> None:
    assert np.array_equal(STD_AFFINE, neurovault.STD_AFFINE)
    for ours, theirs in (
        (basic_image_terms(), neurovault.basic_image_terms()),
        (basic_collection_terms(), neurovault.basic_collection_terms()),
    ):
        assert repr(ours) == repr(theirs)


# ---- special values -------------------------------------------------------------


def test_is_null() -> None:
    for value in ("", None, 0, [], False):
        assert IsNull() == value
    assert IsNull() != "a"
    assert repr(IsNull()) == "IsNull()"


def test_not_null() -> None:
    for value in ("a", 1, [0]):
        assert NotNull() == value
    for value in ("", None, 0):
        assert NotNull() != value
    assert repr(NotNull()) == "NotNull()"


def test_not_equal() -> None:
    for value in ("b", 1, None):
        assert NotEqual("a") == value
    assert NotEqual("a") != "a"
    assert repr(NotEqual("a")) == "NotEqual('a')"


def test_order() -> None:
    """In nilearn None passes, too ("None" comes after "2016"), and 5.9 is cut to 5."""
    later = GreaterOrEqual("2016-07-12T11:29:12.263046Z")
    assert later == "2016-08-12T11:29:12.263046Z"
    assert later == "2016-07-12T11:29:12.263046Z"
    assert later != "2016-06-12T11:29:12.263046Z"
    assert repr(later) == "GreaterOrEqual('2016-07-12T11:29:12.263046Z')"
    assert GreaterThan("abc") != "abc"
    assert GreaterThan("abc") == "abd"
    assert repr(GreaterThan("abc")) == "GreaterThan('abc')"
    assert LessThan(7) == 5
    assert LessThan(7) != 7
    assert LessThan(7) != "a"
    assert repr(LessThan(7)) == "LessThan(7)"
    assert LessOrEqual(4.5) == 4.4
    assert LessOrEqual(4.5) == 4.5
    assert LessOrEqual(4.5) != 4.6
    assert repr(LessOrEqual(4.5)) == "LessOrEqual(4.5)"


@pytest.mark.parametrize(
    "comparison", [GreaterThan, GreaterOrEqual, LessThan, LessOrEqual]
)
def test_nothing_has_no_order(comparison: Any) -> None:
    for bound in (5, "2016", 4.5):
        assert comparison(bound) != None  # noqa: E711  this is the comparison
    assert (GreaterThan(5) == 5.9) is True
    assert (LessOrEqual(7) == 7.9) is False


def test_is_in() -> None:
    assert IsIn(0, 1) == 0
    assert IsIn(0, 1) != 2
    assert repr(IsIn(0, 1)) == "IsIn(0, 1)"
    assert all(IsIn(*range(11)) == number for number in range(11))
    assert IsIn(*range(11)) != 11


def test_not_in() -> None:
    assert NotIn(0, 1) != 0
    assert NotIn(0, 1) == 2
    assert repr(NotIn(0, 1)) == "NotIn(0, 1)"


def test_contains() -> None:
    both = Contains("a", 0)
    assert both != 10
    assert both == ["b", 1, "a", 0]
    assert both != ["b", 1, 0]
    assert repr(both) == "Contains('a', 0)"
    words = Contains("face", "house")
    assert words == "face vs house"
    assert words != "smiling face vs frowning face"
    assert words != None  # noqa: E711


def test_contains_something_else_than_text() -> None:
    """In nilearn it is a TypeError when text is asked whether it contains a number."""
    assert Contains("a", 0) != "a0"


def test_not_contains() -> None:
    neither = NotContains("ab")
    for value in ("a_b", "bcd"):
        assert neither == value
    for value in ("_abcd", None):
        assert neither != value
    assert repr(neither) == "NotContains('ab',)"


def test_pattern() -> None:
    number = Pattern(r"[0-9akqj]{5}$")
    assert number == "ak05q"
    assert number != "Ak05q"
    assert number != "ak05e"
    assert number != None  # noqa: E711
    assert Pattern(r"[0-9akqj]{5}$", re.IGNORECASE) == "Ak05q"
    assert repr(number) == "Pattern(pattern='[0-9akqj]{5}$', flags=0)"


@pytest.mark.parametrize(
    "value",
    [IsNull(), NotEqual("a"), GreaterThan(3), IsIn(1, 2), Contains("a"), Pattern("a")],
    ids=repr,
)
def test_special_values_can_be_kept(value: Any) -> None:
    """Those of nilearn cannot be put into a set."""
    assert repr(pickle.loads(pickle.dumps(value))) == repr(value)
    assert {value: 1}[value] == 1


# ---- filters --------------------------------------------------------------------


def test_result_filter() -> None:
    """Terms, keywords and a function all have to hold; a missing field does not."""
    wanted = ResultFilter({"a": 0}, callable_filter=lambda record: len(record) < 5, b=1)
    assert wanted({"a": 0, "b": 1, "c": 2})
    assert not wanted({"a": 0, "b": 1, "c": 2, "d": 3, "e": 4})
    assert not wanted({"b": 1, "c": 2, "d": 3})
    assert not wanted({"a": 1, "b": 1, "c": 2})
    assert wanted["a"] == 0
    wanted["a"] = 2
    assert wanted["a"] == 2
    assert wanted({"a": 2, "b": 1})
    wanted["d"] = IsIn(0, 1)
    assert not wanted({"a": 2, "b": 1})
    del wanted["d"]
    del wanted["never there"]
    assert wanted({"a": 2, "b": 1})
    wanted.add_filter(lambda record: record.get("d") != 3)
    assert not wanted({"a": 2, "b": 1, "d": 3})
    assert str(wanted) == "ResultFilter"
    with pytest.raises(KeyError, match="never"):
        wanted["never there"]


def test_result_filter_combinations() -> None:
    one, two = ResultFilter(a=0, b=1), ResultFilter(c=2)
    cases = [{"a": 0, "b": 1, "c": 2}, {"a": 0, "b": 1}, {"c": 2}, {}]

    def verdicts(combined: Callable[..., Any]) -> list[bool]:
        return [bool(combined(case)) for case in cases]

    assert verdicts(one.AND(two)) == [True, False, False, False]
    assert verdicts(one.OR(two)) == [True, True, True, False]
    assert verdicts(one.XOR(two)) == [False, True, True, False]
    assert verdicts(one.NOT()) == [False, False, True, True]
    assert verdicts(one.AND(lambda case: len(case) < 3)) == [False, True, False, False]
    nested = one.OR(two).NOT().OR(one.AND(two).XOR(two))
    assert verdicts(nested) == [False, False, True, True]


def test_combinations_do_not_follow_later_changes() -> None:
    one = ResultFilter(a=0)
    both = one.AND(ResultFilter(b=1))
    one["a"] = 5
    assert both({"a": 0, "b": 1})


# ---- null spellings -------------------------------------------------------------


def test_null_spellings_are_none_and_nothing_else(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    """To nilearn "None of the above" and "Nullius" are nothing as well."""
    spellings = ("None / Other", "", "N/A", "None", "null", None)
    kept = (0, "a", "Name", "None of the above", "Nullius", False)
    for number, text in enumerate((*spellings, *kept)):
        nv.archive.add_image(11, gzipped(number), id=5000 + number, custom=text)
    bunch = fetch_neurovault_ids(collection_ids=[11], data_dir=data_dir)
    found = [meta["custom"] for meta in bunch.images_meta]
    assert found == [*[None] * len(spellings), *kept]


# ---- addresses ------------------------------------------------------------------


@pytest.mark.parametrize("url", ["file:///etc/hosts", "neurovault.org", "http://"])
def test_what_is_no_address_is_an_error(data_dir: Path, url: str) -> None:
    with pytest.raises(ValueError, match="url="):
        fetch_neurovault_ids(image_ids=[1], url=url, data_dir=data_dir)


def test_where_nobody_answers_there_is_nothing(data_dir: Path) -> None:
    """And the error, when asked for, is one that programs know."""
    nobody = {"url": "http://127.0.0.1:9", "data_dir": data_dir, **LIMITS}
    with pytest.warns(NeuroVaultWarning, match="cannot be reached"):
        assert fetch_neurovault(**nobody).images == []
    with pytest.raises(ConnectionError, match="cannot be reached"):
        fetch_neurovault(**nobody, errors="raise")


# ---- words ----------------------------------------------------------------------


def words_file(folder: Path, name: str, values: Any) -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"data": {"values": values}}))
    return str(path)


def test_words_make_a_matrix(tmp_path: Path) -> None:
    words = [f"word {number}" for number in range(5)]
    files = [
        words_file(
            tmp_path, str(row), {word: row * i + 1 for i, word in enumerate(words)}
        )
        for row in range(4)
    ]
    frequencies, vocabulary = neurosynth_words_vectorized(files, verbose=0)
    assert frequencies.shape == (4, 5)
    assert list(vocabulary) == words
    assert np.array_equal(frequencies, np.outer(range(4), range(5)) + 1.0)


def test_a_word_that_an_image_lacks_weighs_nothing(tmp_path: Path) -> None:
    """And an image without words is no row of zeros, as with nilearn, but of NaN."""
    files = [
        words_file(tmp_path, "one", {"face": 0.5}),
        words_file(tmp_path, "two", {"hand": 0.25}),
        str(tmp_path / "no such file"),
    ]
    frequencies, _ = neurosynth_words_vectorized(files, verbose=0)
    assert frequencies[:2].tolist() == [[0.5, 0], [0, 0.25]]
    assert np.isnan(frequencies[2]).all()


def test_no_words_at_all_is_a_warning(tmp_path: Path) -> None:
    files = [str(tmp_path / f"no such file {number}") for number in range(3)]
    with pytest.warns(UserWarning, match="No word weight could be loaded"):
        assert neurosynth_words_vectorized(files, verbose=0) == (None, None)


def test_words_that_cannot_be_had_do_not_block_images(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    small.faults.append(Fault(match="decode", kind="500"))
    with pytest.warns(NeuroVaultWarning) as caught:
        bunch = fetch_neurovault_ids(
            image_ids=[1000, 1001],
            fetch_neurosynth_words=True,
            data_dir=data_dir,
            **LIMITS,
        )
    assert ids_of(bunch) == [1000, 1001]
    assert bunch.vocabulary is None
    assert bunch.word_frequencies is None
    assert any("No word weight" in str(each.message) for each in caught)


def test_words_that_cannot_be_had_are_an_error_when_asked_to(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    """The switch that nilearn has cannot be reached; here it is an argument."""
    strict = {
        "image_ids": [1000],
        "fetch_neurosynth_words": True,
        "allow_neurosynth_failure": False,
        "data_dir": data_dir,
        **LIMITS,
    }
    small.faults.append(Fault(match="decode", kind="500", times=1))
    with pytest.raises(intake_neurovault.WordsError, match=r"1000.*500"):
        fetch_neurovault_ids(**strict)
    assert issubclass(intake_neurovault.WordsError, RuntimeError)
    bunch = fetch_neurovault_ids(**strict)
    assert Path(bunch.images_meta[0]["ns_words_absolute_path"]).is_file()
    asked(small)
    fetch_neurovault_ids(**strict)
    assert asked(small) == []


def test_words_need_not_be_vectorised(small: NeuroVaultServer, data_dir: Path) -> None:
    bunch = fetch_neurovault_ids(
        image_ids=[1000, 1001],
        fetch_neurosynth_words=True,
        vectorize_words=False,
        data_dir=data_dir,
    )
    assert "vocabulary" not in bunch
    files = [meta["ns_words_absolute_path"] for meta in bunch.images_meta]
    assert neurosynth_words_vectorized(files)[0].shape[0] == 2


# ---- paging, terms, and where they are applied ------------------------------------


@pytest.mark.parametrize("limit", [6, 250, None])
def test_pages_are_followed(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    archive = many_collections(1, images=0)
    for number in range(450):
        archive.add_image(1, gzipped(number % 5), id=1000 + number)
    with NeuroVaultServer(archive) as server:
        point_us_at(server.url, monkeypatch)
        bunch = fetch_neurovault(max_images=limit, data_dir=data_dir, verbose=0)
    assert len(bunch.images) == (limit or 450)
    assert len(set(bunch.images)) == len(bunch.images)


def test_a_filter_may_leave_nothing(nv: NeuroVaultServer, data_dir: Path) -> None:
    bunch = fetch_neurovault(
        image_terms={}, image_filter=lambda _: False, data_dir=data_dir
    )
    assert bunch.images == bunch.images_meta == bunch.collections_meta == []
    assert asked(nv, "^/media/") == []


def test_a_server_that_answers_nonsense_is_asked_a_few_times_only(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    """A hundred times, in nilearn, for the same page."""
    nv.faults.append(Fault(match="/api/collections/", kind="wrong_types"))
    with pytest.warns(NeuroVaultWarning, match="could not be listed"):
        bunch = fetch_neurovault(data_dir=data_dir, **LIMITS)
    assert bunch.images == []
    assert len(nv.requests) < 5
    with pytest.raises(AnswerError, match="list of collections"):
        fetch_neurovault(data_dir=data_dir, errors="raise", **LIMITS)


@pytest.mark.parametrize("honoured", [True, False])
@pytest.mark.parametrize(
    "terms", [{"DOI": "10.5555/4"}, {"name": "study 4"}, {"id": 4}, {"id": IsIn(4)}]
)
def test_terms_hold_wherever_they_are_applied(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, honoured: bool, terms: Any
) -> None:
    """Whereas nilearn believes the server, and gives images of other collections."""
    with NeuroVaultServer(varied_archive(), honour_filters=honoured) as server:
        point_us_at(server.url, monkeypatch)
        bunch = fetch_neurovault(
            collection_terms=terms, image_terms={}, data_dir=data_dir
        )
    assert ids_of(bunch) == list(range(400, 408))


def test_terms_that_the_server_does_not_know_are_applied(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch_neurovault(
        collection_terms={
            "name": Pattern("study [12]$"),
            "number_of_images": NotNull(),
        },
        image_terms={"id": GreaterThan(105), "map_type": NotIn("ROI/mask")},
        data_dir=data_dir,
    )
    expected = [
        number
        for number, record in nv.archive.images.items()
        if record["collection_id"] in (1, 2)
        and number > 105
        and record["map_type"] != "ROI/mask"
    ]
    assert ids_of(bunch) == expected


def test_the_collection_may_be_named_among_the_image_terms(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch_neurovault(collection_id=4, image_terms={}, data_dir=data_dir)
    assert ids_of(bunch) == list(range(400, 408))
    assert "/api/collections/4/" in asked(nv)
    assert asked(nv) == []
    agreeing = {"collection_id": 4, "collection_terms": {"id": 4}, "image_terms": {}}
    assert ids_of(fetch_neurovault(**agreeing, data_dir=data_dir)) == ids_of(bunch)
    with pytest.warns(UserWarning, match="ontradictory collection ids"):
        none = fetch_neurovault(
            **(agreeing | {"collection_terms": {"id": 5}}), data_dir=data_dir
        )
    assert none.images == []


# ---- fetch_neurovault -----------------------------------------------------------


def test_offline_an_empty_store_has_nothing(data_dir: Path) -> None:
    with pytest.warns(NeuroVaultWarning, match="Offline"):
        bunch = fetch_neurovault(mode="offline", data_dir=data_dir)
    assert bunch.images == bunch.images_meta == bunch.collections_meta == []


def test_so_many_images_and_no_more(nv: NeuroVaultServer, data_dir: Path) -> None:
    """The usual terms hold for each; the same call gives the same images."""
    bunch = fetch_neurovault(max_images=11, data_dir=data_dir)
    assert len(bunch.images) == len(bunch.images_meta) == 11
    for meta in bunch.images_meta:
        assert meta["not_mni"] is False
        assert meta["is_thresholded"] is False
        assert meta["map_type"] not in NOT_STATISTICS
        assert meta["image_type"] != "atlas"
    assert all(Path(path).is_file() for path in bunch.images)
    assert fetch_neurovault(max_images=11, data_dir=data_dir).images == bunch.images


def test_nilearns_defaults(nv: NeuroVaultServer, data_dir: Path) -> None:
    """At most a hundred images, into nilearn's folder."""
    bunch = fetch_neurovault(data_dir=data_dir)
    usual = [
        number
        for number, record in nv.archive.images.items()
        if record.get("not_mni") is False
        and record.get("is_thresholded") is False
        and record["image_type"] != "atlas"
        and record.get("map_type") not in NOT_STATISTICS
    ]
    assert ids_of(bunch) == sorted(usual, key=lambda n: (n // 100, n))
    assert 20 < len(usual) < 60
    assert inspect.signature(fetch_neurovault).parameters["max_images"].default == 100


@pytest.mark.parametrize("what", ["image", "collection"])
def test_defaults_that_still_hold_are_told(
    nv: NeuroVaultServer, data_dir: Path, what: str
) -> None:
    """But nilearn also says so of some terms that the caller gave."""
    condition = {f"{what}_filter": lambda record: record["id"] % 2 == 0}
    with pytest.warns(UserWarning, match=f"`{what}_terms` still apply"):
        fetch_neurovault(max_images=1, data_dir=data_dir, **condition)
    fetch_neurovault(
        max_images=1, data_dir=data_dir, **condition, **{f"{what}_terms": {}}
    )
    own = dict(basic_image_terms(), map_type="T map", not_mni=IsIn(True, False))
    if what == "image":
        own |= {"is_thresholded": IsIn(True, False), "image_type": "statistic_map"}
        fetch_neurovault(max_images=1, data_dir=data_dir, image_terms=own, **condition)


def test_a_store_that_cannot_be_written_is_read(
    nv: NeuroVaultServer,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Instead of failing it works offline, and says so."""
    fetch_neurovault_ids(image_ids=[100], data_dir=data_dir)
    asked(nv)
    # NOTE: to root, who often runs these tests, every folder can be written.
    monkeypatch.setattr("os.access", lambda _path, mode: mode != 2)
    with pytest.warns(UserWarning, match="write access"):
        bunch = fetch_neurovault_ids(image_ids=[100], data_dir=data_dir)
    assert ids_of(bunch) == [100]
    assert asked(nv) == []


def test_a_server_that_only_fails_gives_nothing_and_says_why(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    nv.faults.append(Fault(kind="500"))
    with pytest.warns(NeuroVaultWarning, match="500"):
        bunch = fetch_neurovault(data_dir=data_dir, **LIMITS)
    assert bunch.images == []
    with pytest.raises(ServerError, match="500"):
        fetch_neurovault(data_dir=data_dir, errors="raise", **LIMITS)


@pytest.mark.parametrize("errors", ["warn", "raise"])
def test_a_server_that_is_too_slow_is_told_with_a_hint(
    nv: NeuroVaultServer, data_dir: Path, errors: str
) -> None:
    nv.faults.append(Fault(kind="silent", seconds=5))
    call = {"data_dir": data_dir, "timeout": 0.1, "errors": errors, **LIMITS}
    hint = "pass a larger timeout"
    if errors == "raise":
        with pytest.raises(UnreachableError, match=hint):
            fetch_neurovault(**call)
    else:
        with pytest.warns(NeuroVaultWarning, match=hint):
            assert fetch_neurovault(**call).images == []


def test_a_file_that_cannot_be_had_is_told(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    """nilearn leaves it out without a word, or raises, as the case may be."""
    nv.faults.append(Fault(match="/media/images/1/image_101", kind="500"))
    with pytest.warns(NeuroVaultWarning, match="101"):
        bunch = fetch_neurovault_ids(image_ids=[100, 101], data_dir=data_dir, **LIMITS)
    assert ids_of(bunch) == [100]
    with pytest.raises(ServerError, match="101"):
        fetch_neurovault_ids(
            image_ids=[101], data_dir=data_dir, errors="raise", **LIMITS
        )


# ---- fetch_neurovault_ids -------------------------------------------------------


def test_images_and_collections_each_once(nv: NeuroVaultServer, data_dir: Path) -> None:
    """In the order asked for; every path is text and below its collection's."""
    bunch = fetch_neurovault_ids(
        image_ids=[307, 201, 101], collection_ids=[2], data_dir=data_dir
    )
    others = [number for number in range(200, 208) if number != 201]
    assert ids_of(bunch) == [307, 201, 101, *others]
    rows = zip(bunch.images, bunch.images_meta, bunch.collections_meta, strict=True)
    for path, meta, home in rows:
        assert type(path) is str
        assert path == meta["absolute_path"]
        assert Path(path).parent == Path(home["absolute_path"])
        assert Path(path).parent.name == f"collection_{meta['collection_id']}"
        paths = [value for key, value in {**meta, **home}.items() if "path" in key]
        assert {type(each) for each in paths} == {str}


def test_a_missing_id_is_told(nv: NeuroVaultServer, data_dir: Path) -> None:
    with pytest.warns(NeuroVaultWarning, match="77777"):
        bunch = fetch_neurovault_ids(image_ids=[77777, 100], data_dir=data_dir)
    assert ids_of(bunch) == [100]
    with pytest.raises(MissingError, match="77777"):
        fetch_neurovault_ids(image_ids=[77777], data_dir=data_dir, errors="raise")


def test_an_unknown_mode_is_an_error(data_dir: Path) -> None:
    for fetch in (fetch_neurovault, fetch_neurovault_ids):
        with pytest.raises(ValueError, match="'mode' must be one of"):
            fetch(mode="bad", data_dir=data_dir)
    assert issubclass(ArgumentError, ValueError)


def test_an_image_on_disk_can_be_had_offline(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    online = fetch_neurovault_ids(image_ids=[203], data_dir=data_dir)
    asked(nv)
    offline = fetch_neurovault_ids(image_ids=[203], mode="offline", data_dir=data_dir)
    assert offline.images == online.images
    assert offline.images_meta == online.images_meta
    assert asked(nv) == []


def test_overwriting_brings_back_what_the_server_says(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    """And download_new keeps what somebody wrote into the record on disk."""
    bunch = fetch_neurovault_ids(image_ids=[100], data_dir=data_dir)
    sidecar = Path(bunch.images[0]).with_name("image_100_metadata.json")
    record = json.loads(sidecar.read_bytes())
    sidecar.write_text(json.dumps(record | {"some_key": "some_value"}))
    kept = fetch_neurovault_ids(image_ids=[100], data_dir=data_dir)
    assert kept.images_meta[0]["some_key"] == "some_value"
    fresh = fetch_neurovault_ids(image_ids=[100], mode="overwrite", data_dir=data_dir)
    assert "some_key" not in fresh.images_meta[0]
    assert "some_key" not in json.loads(sidecar.read_bytes())


def test_records_hold_relative_paths_and_answers_absolute_ones(
    nv: NeuroVaultServer, data_dir: Path
) -> None:
    """But nilearn then also drops fields of the user that are called "absolute"."""
    nv.archive.edit_image(100, absolute_pitch=1)
    (meta,) = fetch_neurovault_ids(image_ids=[100], data_dir=data_dir).images_meta
    path = Path(meta["absolute_path"])
    kept = json.loads(path.with_name("image_100_metadata.json").read_bytes())
    assert (
        kept["relative_path"]
        == meta["relative_path"]
        == "collection_1/image_100.nii.gz"
    )
    assert "absolute_path" not in kept
    assert path == data_dir / "neurovault" / meta["relative_path"]
    (again,) = fetch_neurovault_ids(
        image_ids=[100], data_dir=data_dir, mode="offline"
    ).images_meta
    assert again == meta
    assert again["absolute_pitch"] == 1


# ---- resampling -----------------------------------------------------------------


def originals(bunch: Any) -> list[Path]:
    return [Path(meta["absolute_path"]) for meta in bunch.images_meta]


def test_resampled_files_come_instead_of_originals(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    """On nilearn's affine, and all of one shape, which nilearn's are not."""
    bunch = fetch_neurovault(max_images=3, resample=True, data_dir=data_dir)
    assert len(bunch.images) == 3
    for path, meta in zip(bunch.images, bunch.images_meta, strict=True):
        assert path == meta["resampled_absolute_path"]
        image = nibabel.load(path)
        assert np.array_equal(image.affine, STD_AFFINE)
        assert image.shape == (61, 73, 61)
    assert not any(path.exists() for path in originals(bunch))


def test_originals_come_beside_resampled_files(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    resampled = fetch_neurovault(max_images=3, resample=True, data_dir=data_dir)
    bunch = fetch_neurovault(max_images=3, data_dir=data_dir)
    assert bunch.images == [str(path) for path in originals(resampled)]
    for path, number in zip(bunch.images, ids_of(bunch), strict=True):
        assert Path(path).read_bytes() == content(number)
        assert not np.array_equal(nibabel.load(path).affine, STD_AFFINE)
    assert all(Path(path).is_file() for path in resampled.images)


def test_resampled_files_are_made_from_the_originals_on_disk(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    bunch = fetch_neurovault(max_images=3, data_dir=data_dir)
    before = [path.stat().st_mtime_ns for path in originals(bunch)]
    asked(small)
    resampled = fetch_neurovault(max_images=3, resample=True, data_dir=data_dir)
    assert asked(small, "^/media/") == []
    assert ids_of(resampled) == ids_of(bunch)
    assert [path.stat().st_mtime_ns for path in originals(bunch)] == before
    for path in resampled.images:
        assert np.array_equal(nibabel.load(path).affine, STD_AFFINE)


@pytest.mark.parametrize("original", [True, False])
def test_the_interpolation_asked_for_is_the_one_given(
    small: NeuroVaultServer, data_dir: Path, original: bool
) -> None:
    """Whereas nilearn gives the file of the first interpolation for ever."""
    if original:
        fetch_neurovault(max_images=1, data_dir=data_dir)
    call = {"max_images": 1, "resample": True, "data_dir": data_dir}
    made = {}
    for how in ("nearest", "continuous", "linear", "nearest"):
        (path,) = fetch_neurovault(**call, interpolation=how).images
        data = nibabel.load(path).get_fdata()
        assert how not in made or np.array_equal(made[how], data)
        made[how] = data
    assert not np.allclose(made["nearest"], made["continuous"])
    assert not np.allclose(made["linear"], made["continuous"])


# ---- one map --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("fetch_neurovault_motor_task", 10426),
        ("fetch_neurovault_auditory_computation_task", 32980),
    ],
)
def test_the_sample_maps_are_had_by_name(
    server: NeuroVaultServer,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    number: int,
) -> None:
    point_us_at(server.url, monkeypatch)
    bunch = getattr(intake_neurovault, name)(data_dir=data_dir, verbose=0)
    assert ids_of(bunch) == [number]
    assert Path(bunch.images[0]).read_bytes() == server.file_bytes(number)
