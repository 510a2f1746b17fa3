"""The collections as a catalog: listed when somebody looks, each entry a source."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import intake
import pytest
import yaml
from asking import SECRET, asked, many_collections
from dask.base import tokenize
from intake.catalog import Catalog

from intake_neurovault import Directory, NeuroVaultCatalog, NeuroVaultSource
from intake_neurovault.errors import (
    ArgumentError,
    FilterError,
    MissingError,
    NeuroVaultWarning,
    UnknownArgumentError,
)
from intake_neurovault.records import Collection
from intake_neurovault.testing import Archive, NeuroVaultServer
from intake_neurovault.titles import name_of

LISTED = [20, 21, 22, 262, 658, 1425, 1952, 3324]
"""The collections of the sample archive that hold images and are not private."""

LOCALIZER = "functional_localizer_pressing_buttons_reading_658"
EVIL = "{{ cycler.__init__.__globals__.os.mkdir('evil') }}"
"""A title that does something where a template is made of it."""

Open = Callable[..., NeuroVaultCatalog]


@pytest.fixture
def opened(fresh_server: NeuroVaultServer, data_dir: Path) -> Open:
    """Open a catalog of the server of this test."""
    here = {"url": fresh_server.url, "data_dir": str(data_dir), "retries": 0}

    def open_(**arguments: Any) -> NeuroVaultCatalog:
        return intake.open_neurovault_catalog(**here | arguments)

    return open_


@pytest.fixture
def cat(opened: Open) -> NeuroVaultCatalog:
    return opened()


def numbers(cat: Any) -> list[int]:
    """The numbers that the names in a list end in."""
    return [int(name.rpartition("_")[2]) for name in cat]


def reopened(cat: NeuroVaultCatalog, folder: Path) -> NeuroVaultCatalog:
    path = folder / "written.yaml"
    path.write_text(cat.yaml(), encoding="utf-8")
    return intake.open_catalog(str(path))[cat.name]


# ---- entries ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", [658, "658", " 658 ", 658.0, LOCALIZER, "collection_658", "old_title_658"]
)
def test_an_entry_is_a_source_of_one_collection(
    cat: NeuroVaultCatalog, fresh_server: NeuroVaultServer, key: Any
) -> None:
    source = cat[key]
    assert isinstance(source, NeuroVaultSource)
    assert source is cat[658]
    assert source == intake.open_neurovault(
        **cat.directory.arguments, collection_ids=658
    )
    assert (source.name, source.cat) == ("collection_658", cat)
    assert source.metadata["url"] == f"{fresh_server.url}/collections/658/"
    assert fresh_server.requests == []
    assert len(source) == 20


def test_arguments_are_those_of_the_entries(opened: Open) -> None:
    given = {
        "grid": "mni152-2mm",
        "max_images": 100,
        "image_terms": {"map_type": "Z map"},
        "collection_terms": {"DOI": {"$null": False}},
    }
    source = opened(**given)[658]
    assert source.result.to_arguments() | given == source.result.to_arguments()
    assert source(max_images=2).query.max_images == 2
    assert opened()[658].query.max_images is None


@pytest.mark.parametrize("key", ["foo", "", "12x", 0, -3, 1.5, None, True, (1, 2)])
def test_what_is_no_collection_is_a_key_error(
    cat: NeuroVaultCatalog, fresh_server: NeuroVaultServer, key: Any
) -> None:
    with pytest.raises(KeyError, match=r"is no collection: name one by its number"):
        cat[key]
    assert key not in cat
    assert fresh_server.requests == []


def test_a_collection_that_does_not_exist_is_an_error_when_it_is_looked_at(
    cat: NeuroVaultCatalog,
) -> None:
    source = cat[777]
    assert 777 not in cat
    with pytest.raises(MissingError, match="777"):
        len(source)


def test_an_entry_that_was_listed_has_its_name(cat: NeuroVaultCatalog) -> None:
    assert cat[658].description == ""
    list(cat)
    source = cat["658"]
    assert source is cat[LOCALIZER] is getattr(cat, LOCALIZER)
    assert source.name == LOCALIZER
    assert source.description.startswith("Functional localizer: pressing buttons")
    assert source.description.endswith("; 10.5555/sample.658; 20 images")


def test_an_entry_keeps_what_it_found(
    cat: NeuroVaultCatalog, fresh_server: NeuroVaultServer
) -> None:
    assert len(cat[658]) == 20
    fresh_server.clear_requests()
    assert len(cat[658].df) == 20
    assert fresh_server.requests == []


# ---- the list ---------------------------------------------------------------------


def test_only_looking_at_the_list_asks_for_it(
    cat: NeuroVaultCatalog, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    assert bool(cat)
    assert "not listed yet; all collections" in repr(cat)
    assert "not listed yet" in cat._repr_html_()
    assert {"df", "search"} <= set(dir(cat))
    assert cat._ipython_key_completions_() == []
    assert not hasattr(cat, "foo")
    assert not hasattr(cat, "_repr_markdown_")
    assert hasattr(cat, "anything_658")
    assert cat.discover()["container"] == "catalog"
    assert "args" in cat.yaml()
    for twin in (pickle.loads(pickle.dumps(cat)), copy.copy(cat), cat(grid=2)(grid=3)):
        assert twin.directory.known == {}
    assert cat.search("pain").search(image_terms={"map_type": "Z map"})[658]
    cat.reload()
    assert fresh_server.requests == []
    assert list(data_dir.iterdir()) == []
    assert numbers(cat) == LISTED
    assert asked(fresh_server) == ["/api/collections/"]


@pytest.mark.parametrize(
    "look",
    [
        list,
        len,
        lambda cat: cat.df,
        lambda cat: 658 in cat,
        lambda cat: dict(cat.items()),
        lambda cat: list(cat.values()),
        lambda cat: cat.walk(),
        lambda cat: cat.keys(),
        lambda cat: cat.failures,
    ],
)
def test_each_way_to_look_asks_once(
    cat: NeuroVaultCatalog, fresh_server: NeuroVaultServer, look: Callable[..., Any]
) -> None:
    look(cat)
    look(cat)
    assert asked(fresh_server) == ["/api/collections/"]


def test_the_list_is_in_the_order_of_the_numbers(cat: NeuroVaultCatalog) -> None:
    assert numbers(cat) == LISTED
    assert len(cat) == len(LISTED)
    assert [number for number in range(4000) if number in cat] == LISTED
    assert all(name in cat for name in cat)
    assert [source.query.collection_ids for source in cat.values()] == [
        (number,) for number in LISTED
    ]
    assert set(cat._ipython_key_completions_()) == set(cat) < set(dir(cat))


def test_the_table(cat: NeuroVaultCatalog) -> None:
    table = cat.df.set_index("id")
    assert cat.df.columns[:6].tolist() == [
        "id",
        "name",
        "number_of_images",
        "DOI",
        "authors",
        "journal_name",
    ]
    assert table.index.tolist() == LISTED
    row = table.loc[658]
    assert row["number_of_images"] == 20
    assert row["DOI"] == "10.5555/sample.658"
    assert row["authors"].startswith("A. Author")
    assert table["number_of_images"].dtype == "Int64"
    assert str(table["add_date"].dtype) == "datetime64[us, UTC]"
    assert cat.failures.empty


def test_empty_collections_are_listed_for_those_who_ask(opened: Open) -> None:
    assert 23 not in opened()
    assert 23 in opened(collection_terms={})
    assert numbers(opened(collection_terms={"number_of_images": 0})) == [23]


def test_a_second_session_asks_nothing(
    opened: Open, fresh_server: NeuroVaultServer
) -> None:
    names = list(opened())
    fresh_server.clear_requests()
    assert list(opened()) == names
    assert list(opened(mode="offline")) == names
    assert fresh_server.requests == []


def test_closing_forgets_the_list(opened: Open, fresh_server: NeuroVaultServer) -> None:
    cat = opened(metadata_ttl=0)
    assert len(cat) == len(LISTED)
    source = cat[658]
    fresh_server.archive.add_collection("One more", id=5000, number_of_images=1)
    fresh_server.archive.add_image(5000, b"", id=5001)
    assert len(cat) == len(LISTED)
    cat.close()
    assert numbers(cat) == [*LISTED, 5000]
    assert source is not cat[658]


def test_a_server_that_is_away_is_a_failure_not_an_error(data_dir: Path) -> None:
    here = {"url": "http://127.0.0.1:9", "data_dir": data_dir, "retries": 0}
    cat = intake.open_neurovault_catalog(**here)
    with pytest.warns(NeuroVaultWarning, match="could not be listed"):
        assert list(cat) == []
    assert cat.failures["url"].tolist() == ["http://127.0.0.1:9/api/collections/"]
    strict = intake.open_neurovault_catalog(errors="raise", **here)
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1:9"):
        len(strict)


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("BrainPedia", "brainpedia_7"),
        ("Émotion  (2016): faces/houses!", "emotion_2016_faces_houses_7"),
        ("21 pain studies", "21_pain_studies_7"),
        ("情動", "collection_7"),
        (None, "collection_7"),
        ("n/a", "collection_7"),
        ("__class__", "class_7"),
        ("x" * 99, f"{'x' * 48}_7"),
        (f"{'word ' * 20}", f"{'_'.join(['word'] * 9)}_7"),
        (EVIL, "cycler_init_globals_os_mkdir_evil_7"),
    ],
)
def test_names_read_well(title: str | None, name: str) -> None:
    assert name_of(Collection.from_json({"id": 7, "name": title})) == name


# ---- conditions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"text": "LOCALIZER"}, [658]),
        ({"text": "localizer parcellations"}, [262, 658]),
        ({"text": "10.5555/sample.3324"}, [3324]),
        ({"text": "five-minute"}, [658]),
        ({"text": "b. author"}, [658, 3324]),
        ({"text": "author,"}, [658, 3324]),
        ({"text": "[a-z]"}, []),
        ({"collection_terms": {"DOI": {"$null": False}}}, [658, 3324]),
        ({"collection_terms": {"id": [1952, 658]}}, [658, 1952]),
        ({"text": "of", "collection_terms": {"DOI": {"$null": True}}}, [1952]),
        ({"image_terms": {"number_of_subjects": {"$gte": 60}}}, [658]),
        ({"image_terms": {"image_type": "atlas"}}, [262]),
        ({"image_terms": lambda image: image["id"] == 32015}, [1952]),
        ({"text": "laboratory", "image_terms": {"age": {"$gt": 30}}}, [3324]),
    ],
)
def test_search(cat: NeuroVaultCatalog, how: dict[str, Any], found: list[int]) -> None:
    some = cat.search(**how)
    assert isinstance(some, NeuroVaultCatalog)
    assert numbers(some) == found
    assert len(some) == len(found)
    assert some.df["id"].tolist() == found
    assert some.cat is cat


def test_a_search_in_a_search_narrows_it(cat: NeuroVaultCatalog) -> None:
    some = cat.search("author").search(collection_terms={"id": {"$gt": 1000}})
    assert numbers(some) == [3324]
    faces = {"name": {"$contains": "faces"}}
    many = {"number_of_subjects": {"$gte": 24}}
    images = some.search(image_terms=faces).search(image_terms=many)
    (source,) = images.values()
    assert source.df["number_of_subjects"].min() >= 24
    assert source.df["name"].str.contains("faces").all()
    assert len(source) < len(cat[3324])


def test_a_search_needs_something_to_search_for(cat: NeuroVaultCatalog) -> None:
    for text in (None, "", "  "):
        with pytest.raises(ArgumentError, match="needs some text"):
            cat.search(text)


def test_functions_cannot_be_joined(cat: NeuroVaultCatalog) -> None:
    some = cat.search(image_terms=lambda _: True)
    for again in ({"map_type": "Z map"}, callable):
        with pytest.raises(FilterError, match="cannot be joined with other"):
            some.search(image_terms=again)


def test_a_field_that_no_collection_has_is_warned_of(cat: NeuroVaultCatalog) -> None:
    some = cat.search(collection_terms={"auhtors": "me"})
    with pytest.warns(NeuroVaultWarning, match="did you mean 'authors'"):
        assert len(some) == 0


def test_an_entry_of_a_search_that_does_not_match_is_empty(
    cat: NeuroVaultCatalog,
) -> None:
    some = cat.search(collection_terms={"DOI": "10.5555/sample.658"})
    assert len(some[658]) == 20
    assert len(some[3324]) == 0
    assert 3324 not in some


def test_conditions_on_images_need_the_lists_of_what_is_left(
    opened: Open, fresh_server: NeuroVaultServer
) -> None:
    doi, z_maps = {"DOI": {"$null": False}}, {"map_type": "Z map"}
    cat = opened(image_terms=z_maps, collection_terms=doi)
    assert numbers(cat) == [658, 3324]
    assert asked(fresh_server) == [
        "/api/collections/",
        "/api/collections/3324/images/",
        "/api/collections/658/images/",
    ]
    assert set(cat[658].df["map_type"]) == {"Z map"}


# ---- collections that are named, and private ones ---------------------------------


def test_named_collections_in_their_order(
    opened: Open, fresh_server: NeuroVaultServer
) -> None:
    cat = opened(collection_ids=iter([3324, "658"]))
    assert cat[658].query.collection_ids == (658,)
    with pytest.raises(KeyError, match="1952 is not among the collections"):
        cat[1952]
    assert not hasattr(cat, "some_1952")
    assert fresh_server.requests == []
    assert numbers(cat) == [3324, 658]
    assert numbers(cat.search(collection_terms={"id": {"$lt": 1000}})) == [658]
    assert "collections 3324, 658" in repr(cat)
    assert list(opened(collection_ids=[])) == []


def test_a_private_collection(
    opened: Open, fresh_server: NeuroVaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    source = opened()["env:MY_TOKEN"]
    assert source.name == "env:MY_TOKEN"
    assert len(source) == 2
    cat = opened(collection_ids=["env:MY_TOKEN", 658])
    assert cat["env:MY_TOKEN"] == source
    assert cat[658].query.collection_ids == (658,)
    assert list(cat) == ["not_yet_published_9001", LOCALIZER]
    assert cat[9001] == cat.not_yet_published_9001 == source
    assert {9001, "env:MY_TOKEN", 658} == {
        key for key in (9001, "env:MY_TOKEN", 658, 1952) if key in cat
    }
    again = pickle.loads(pickle.dumps(cat))
    said = (cat, cat._repr_html_(), cat.df.to_csv(), cat.yaml(), cat.serialize())
    assert SECRET not in "".join(map(str, said)) + str(cat[9001].metadata)
    assert cat[9001].metadata["url"].endswith("/collections/9001/")
    assert list(again) == list(cat)


def test_a_literal_token_is_shown_nowhere_and_never_written(opened: Open) -> None:
    cat = opened(collection_ids=[SECRET])
    assert len(cat[SECRET]) == 2
    assert cat[SECRET].name == "private_collection"
    assert list(cat) == ["not_yet_published_9001"]
    source = cat[9001]
    said = [repr(cat), cat._repr_html_(), repr(source), repr(source.entry)]
    assert SECRET not in "".join([*said, *dir(cat), cat.df.to_csv()])
    for write in (cat.yaml, cat.serialize, source.yaml):
        with pytest.raises(ArgumentError, match="env:NAME") as caught:
            write()
        assert SECRET not in str(caught.value)


# ---- written down, compared, copied -----------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"collection_terms": {}},
        {"collection_terms": {"number_of_images": {"$truthy": True}}},
        {"collection_terms": {"DOI": {"$null": False}}, "max_images": 100},
        {"image_terms": {"not_mni": False}, "grid": None, "errors": "skip"},
        {
            "image_terms": {
                "not_mni": False,
                "is_thresholded": False,
                "map_type": {"$nin": ["ROI/mask", "anatomical", "parcellation"]},
                "image_type": {"$ne": "atlas"},
            }
        },
        {"collection_ids": ["env:MY_TOKEN", 658], "resample": True},
        {"collection_ids": [], "collection_terms": {"name": "{{ 1 }}"}},
    ],
)
def test_what_is_written_opens_as_an_equal_catalog(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    cat = intake.open_neurovault_catalog(metadata={"kind": "all"}, **arguments)
    again = reopened(cat, tmp_path)
    for twin in (again, pickle.loads(pickle.dumps(cat)), copy.copy(cat), cat()):
        assert twin == cat
        assert hash(twin) == hash(cat)
        assert tokenize(twin) == tokenize(cat)
        assert twin.metadata["kind"] == "all"
    if "collection_ids" not in arguments:
        assert again[658] == cat[658]
    assert again.yaml() == cat.yaml()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"collection_terms": {}}),
        ({}, {"collection_ids": []}),
        ({}, {"collection_terms": {"DOI": "x"}}),
        ({}, {"image_terms": {"not_mni": False}}),
        ({"max_images": 3}, {"max_images": 4}),
        ({"url": "http://a.org"}, {"url": "http://b.org"}),
    ],
)
def test_different_catalogs_are_different(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = (intake.open_neurovault_catalog(**each) for each in (one, other))
    assert first != second
    assert tokenize(first) != tokenize(second)
    assert first == intake.open_neurovault_catalog(**one)
    assert first != intake.open_neurovault()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("colection_terms", "did you mean 'collection_terms'"),
        ("image_ids", "did you mean 'image_terms'"),
        ("image_filter", "give conditions on images"),
    ],
)
def test_a_misspelt_argument_is_a_type_error(name: str, suggestion: str) -> None:
    text = f"the driver 'neurovault_catalog' has no argument '{name}'; {suggestion}"
    with pytest.raises(UnknownArgumentError, match=text):
        intake.open_neurovault_catalog(**{name: 3})


@pytest.mark.parametrize("name", ["image_ids", "frozen"])
def test_a_directory_lists_no_single_images(name: str) -> None:
    with pytest.raises(ArgumentError, match=rf"{name}= has no place .* search\(\)"):
        Directory(**{name: [3]})


def test_its_signature_is_that_of_search_without_single_images() -> None:
    def shown(function: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters.values()
        return {each.name: each.default for each in parameters}

    expected = shown(intake.open_neurovault) | {"max_images": None}
    del expected["image_ids"], expected["frozen"]
    assert shown(intake.open_neurovault_catalog) == expected


def test_a_directory_by_itself(fresh_server: NeuroVaultServer, data_dir: Path) -> None:
    directory = Directory(url=fresh_server.url, data_dir=data_dir)
    assert [each.id for each in directory] == LISTED
    assert directory.listed is not None
    assert directory.names()[LOCALIZER] == 658
    assert repr(directory) == f"<Directory: {len(LISTED)} collections; all collections>"


# ---- inside other catalogs --------------------------------------------------------


@pytest.fixture
def parent(
    tmp_path: Path, fresh_server: NeuroVaultServer, data_dir: Path
) -> Iterator[Catalog]:
    """A catalog with the collections, and something else, among its entries."""
    path = tmp_path / "parent.yaml"
    here = {"url": fresh_server.url, "data_dir": str(data_dir)}
    terms = {"DOI": {"$null": "{{ without }}"}}
    without = {"description": "", "type": "bool", "default": False}
    entries = {
        "vault": {
            "driver": "neurovault_catalog",
            "description": "Published collections",
            "args": {"collection_terms": terms, **here},
            "parameters": {"without": without},
        },
        "maps": {"driver": "neurovault", "args": {"image_ids": [10426], **here}},
    }
    path.write_text(yaml.safe_dump({"sources": entries}), encoding="utf-8")
    return intake.open_catalog(str(path))


def test_a_search_of_the_parent_lists_nothing(
    parent: Catalog, fresh_server: NeuroVaultServer
) -> None:
    assert list(parent.search("published", depth=5)) == ["vault"]
    assert set(parent.walk(depth=5)) == {"vault", "maps"}
    assert {"vault", "maps"} <= set(dir(parent))
    assert pickle.loads(pickle.dumps(parent)).vault == parent.vault
    assert fresh_server.requests == []


def test_entries_through_the_parent(
    parent: Catalog, fresh_server: NeuroVaultServer
) -> None:
    vault = parent.vault
    assert vault is parent.vault
    assert (vault.name, vault.description) == ("vault", "Published collections")
    assert vault.describe()["container"] == "xarray"
    found = [vault["658"], parent["vault", "658"], parent["vault.658"], vault.x_658]
    assert all(source == vault[658] for source in found)
    assert fresh_server.requests == []
    assert numbers(vault) == [658, 3324]


def test_parameters_and_calls(parent: Catalog) -> None:
    rest = parent.vault(without=True)
    assert set(numbers(rest)) == {23, *LISTED} - {658, 3324}
    assert numbers(rest(grid=2)) == numbers(rest)
    assert rest(grid=2)[262].result.reader.grid != rest[262].result.reader.grid
    assert numbers(parent.vault) == [658, 3324]


# ---- a server whose records are up to something -----------------------------------


def test_no_template_is_made_of_what_the_server_says(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = Archive()
    archive.add_collection(EVIL, id=7, description=EVIL, authors=EVIL, DOI=EVIL)
    archive.add_image(7, b"", id=70, name=EVIL)
    with NeuroVaultServer(archive) as server:
        cat = intake.open_neurovault_catalog(url=server.url, data_dir=str(data_dir))
        (source,) = cat.values()
        assert source.description.startswith(EVIL)
        assert len(source) == 1
        Path("all.yaml").write_text(cat.serialize(), encoding="utf-8")
        again = intake.open_catalog("all.yaml")
        assert [entry.description for entry in again.values()] == [source.description]
        assert list(again.values()) == [source]
        again.search("cycler")
        assert "<script>" not in cat.search("<script>")._repr_html_()
    assert not Path("evil").exists()


def test_many_collections_in_a_notebook(data_dir: Path) -> None:
    with NeuroVaultServer(many_collections(1250)) as server:
        cat = intake.open_neurovault_catalog(url=server.url, data_dir=data_dir)
        assert len(cat) == 1250
        page = cat._repr_html_()
    assert page.count("<li>") == 11
    assert "and 1,240 more" in page
    assert numbers(cat) == list(range(1, 1251))


# ---- what cannot be had ----------------------------------------------------------


def test_named_collections_that_cannot_be_had(opened: Open) -> None:
    some = [658, 777, 1952]
    with pytest.raises(MissingError, match="777"):
        list(opened(collection_ids=some))
    cat = opened(collection_ids=some, errors="warn")
    with pytest.warns(NeuroVaultWarning, match="777"):
        assert numbers(cat) == [658, 1952]
    assert cat.failures["collection_id"].tolist() == [777]
    quiet = opened(collection_ids=some, errors="skip")
    assert numbers(quiet) == [658, 1952]
    assert quiet.failures["collection_id"].tolist() == [777]


def test_a_token_that_is_not_set(opened: Open) -> None:
    cat = opened(collection_ids=["env:NOT_SET", 658], errors="skip")
    assert numbers(cat) == [658]
    assert "NOT_SET" in cat.failures["reason"].item()


def test_offline_without_a_list(opened: Open, fresh_server: NeuroVaultServer) -> None:
    cat = opened(mode="offline")
    with pytest.warns(NeuroVaultWarning, match="never listed completely"):
        assert list(cat) == []
    assert fresh_server.requests == []
    assert len(opened(max_images=1)[658].fetch()) == 1
    some = opened(mode="offline", errors="skip")
    assert numbers(some) == [658]
    assert len(some[658]) == 20
