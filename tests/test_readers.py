"""The face for intake's second version, as its users know it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from asking import SECRET, asked
from dask.base import tokenize
from intake.readers.entry import Catalog, ReaderDescription
from intake.readers.user_parameters import SimpleUserParameter
from nilearn.datasets.neurovault import GreaterOrEqual, NotNull

import intake_neurovault
from intake_neurovault import SearchResult, readers, search
from intake_neurovault.errors import (
    ArgumentError,
    FilterError,
    StoreError,
    UnknownArgumentError,
)
from intake_neurovault.readers import (
    NeuroVaultCatalogReader,
    NeuroVaultImages,
    NeuroVaultReader,
    NeuroVaultSearch,
    NeuroVaultService,
    NeuroVaultTable,
)
from intake_neurovault.testing import NeuroVaultServer

SOME = [10426, 10410]
KINDS = [NeuroVaultSearch, NeuroVaultImages, NeuroVaultTable, NeuroVaultCatalogReader]
QUERIES: list[dict[str, Any]] = [
    {},
    {"image_ids": SOME, "grid": "mni152-2mm"},
    {
        "collection_ids": [658],
        "image_terms": {
            "number_of_subjects": {"$gte": 20, "$lt": 30},
            "name": {"$regex": r"^left.{1,3}vs"},
            "$or": [{"figure": "2A"}, {"figure": None}],
        },
        "max_images": None,
        "fill_value": 1.5,
    },
    {"image_terms": {"name": {"$in": ["{{ 1 + 1 }}", "{n}", "{a.b}", "{%", "x\n"]}}},
    {"image_terms": {"name": "{env(HOME)}", "description": "{func(os:getcwd)}"}},
    {"collection_ids": ["env:MY_TOKEN"], "errors": "skip", "trusted_hosts": ["b.org"]},
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nilearn_data")


@pytest.fixture
def here(server: NeuroVaultServer, store: Path) -> dict[str, Any]:
    """The local server, and one store for the whole module."""
    return {"url": server.url, "data_dir": str(store), "retries": 1}


@pytest.fixture
def no_imports() -> Iterator[None]:
    """Let no catalog import what it names."""
    with intake.conf.set(allow_import=False):
        yield


def opened(cat: Catalog, folder: Path) -> Catalog:
    """Write a catalog down, and read it."""
    path = folder / "written.yaml"
    cat.to_yaml_file(str(path))
    return intake.open_catalog(str(path))


# ---- what data there are, and what reads them -------------------------------------


def test_intake_knows_the_readers_of_the_service() -> None:
    outputs = NeuroVaultService().possible_outputs
    # intake has one more for any service where SQLAlchemy is installed.
    theirs = {r for r in outputs if not r.__module__.startswith("intake_neurovault")}
    assert {r.__name__ for r in theirs} <= {"SQLAlchemyCatalog"}
    assert {r: outputs[r] for r in outputs if r not in theirs} == {
        NeuroVaultSearch: "intake_neurovault:SearchResult",
        NeuroVaultImages: "xarray:Dataset",
        NeuroVaultTable: "pandas:DataFrame",
        NeuroVaultCatalogReader: "intake.readers.entry:Catalog",
    }
    assert set(intake.recommend(NeuroVaultService())["importable"]) == set(outputs)


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("https://neurovault.org", True),
        ("https://neurovault.org/collections/1952/", True),
        ("http://www.neurovault.org/images/10426/", True),
        ("https://neurovault.org.example.com/", False),
        ("https://example.com/neurovault.org/", False),
    ],
)
def test_intake_recognises_addresses(address: str, known: bool) -> None:
    found = intake.recommend(address, head=False)
    assert (NeuroVaultService in (found or ())) is known


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        (None, {}),
        ("http://a.org", {"url": "http://a.org"}),
        ("http://a.org/api/", {"url": "http://a.org/api/"}),
        ("http://a.org/images/3", {"url": "http://a.org", "image_ids": [3]}),
        (
            "http://a.org/collections/1952/",
            {"url": "http://a.org", "collection_ids": [1952]},
        ),
        (
            "http://a.org/api/collections/7/images/?limit=3",
            {"url": "http://a.org", "collection_ids": [7]},
        ),
    ],
)
def test_pages_name_what_they_show(
    address: str | None, arguments: dict[str, Any]
) -> None:
    assert NeuroVaultService(address).arguments == arguments
    assert NeuroVaultImages(address).data == NeuroVaultService(address)


def test_a_page_with_a_token_is_refused() -> None:
    with pytest.raises(ArgumentError, match="collection_ids='env:NAME'") as caught:
        NeuroVaultService(f"https://neurovault.org/collections/{SECRET}/")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("outtype", "kind"),
    [
        (None, NeuroVaultImages),
        ("xarray", NeuroVaultImages),
        ("pandas", NeuroVaultTable),
        ("SearchResult", NeuroVaultSearch),
        ("Catalog", NeuroVaultCatalogReader),
    ],
)
def test_a_reader_by_what_it_gives(
    outtype: str | None, kind: type[NeuroVaultReader]
) -> None:
    data = NeuroVaultService("http://a.org")
    reader = data.to_reader(outtype, max_images=3)
    assert type(reader) is kind
    assert reader.kwargs == {"data": data, "max_images": 3}
    assert type(NeuroVaultSearch(data).to_reader(outtype)) is kind


def test_a_query_keeps_when_the_reader_changes(here: dict[str, Any]) -> None:
    images = NeuroVaultImages(image_ids=SOME, metadata={"a": 1}, **here)
    table = images.to_reader("pandas", image_ids=SOME[:1])
    assert table.read()["id"].tolist() == SOME[:1]
    assert table.metadata == {"a": 1}
    assert images(grid=2).metadata == {"a": 1}
    assert images(grid=2) == NeuroVaultImages(image_ids=SOME, grid=2, **here)


# ---- reading ----------------------------------------------------------------------


def test_each_reader_gives_what_it_says(here: dict[str, Any]) -> None:
    result = NeuroVaultSearch(image_ids=SOME, **here).read()
    assert isinstance(result, SearchResult)
    assert result == search(image_ids=SOME, **here)
    lazy = NeuroVaultImages(image_ids=SOME, **here).read()
    assert lazy.maps.chunks is not None
    xr.testing.assert_identical(lazy, result.to_dask())
    table = NeuroVaultTable(image_ids=SOME, **here).read()
    pd.testing.assert_frame_equal(table, result.df)


def test_nothing_is_requested_before_something_is_read(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    data = NeuroVaultService(fresh_server.url)
    arguments = {"collection_ids": [658], "data_dir": str(data_dir)}
    for kind in KINDS:
        reader = kind(data, **arguments)
        assert kind.__name__ in repr(reader)
        assert pickle.loads(pickle.dumps(reader)) == reader(**arguments)
        assert not hasattr(reader, "_repr_html_")
        reader.to_cat("mine")
    assert NeuroVaultSearch(data, **arguments).read() is not None
    assert fresh_server.requests == []
    assert len(NeuroVaultTable(data, **arguments).discover()) == 20
    assert fresh_server.requests != []


def test_arguments_while_reading(here: dict[str, Any]) -> None:
    reader = NeuroVaultTable(NeuroVaultService(here.pop("url")), **here)
    assert reader.read(image_ids=SOME)["id"].tolist() == SOME
    assert reader.read(image_ids=SOME[1:])["id"].tolist() == SOME[1:]


def test_a_page_is_a_query(here: dict[str, Any]) -> None:
    page = f"{here.pop('url')}/collections/3324/"
    table = NeuroVaultTable(page, image_terms={"map_type": "T map"}, **here).read()
    assert table["id"].tolist() == [48000, 48004]
    assert set(table["collection_id"]) == {3324}


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_arguments_are_refused_at_once(kind: type[NeuroVaultReader]) -> None:
    with pytest.raises(UnknownArgumentError, match="did you mean 'max_images'"):
        kind(max_image=3)
    with pytest.raises(ArgumentError, match="mode"):
        kind(mode="online")


# ---- pipelines --------------------------------------------------------------------


def test_converters(here: dict[str, Any]) -> None:
    reader = NeuroVaultSearch(collection_ids=[658], max_images=2, **here)
    result = reader.read()
    assert {
        "SearchResultToXarray",
        "SearchResultToDataTree",
        "SearchResultToPandas",
        "SearchResultToCatalog",
    } <= set(dir(reader))
    xr.testing.assert_identical(reader.SearchResultToXarray.read(), result.to_dask())
    tree = reader.transform["xarray:DataTree"].read()
    assert isinstance(tree, xr.DataTree)
    assert tree.equals(result.to_datatree())
    pd.testing.assert_frame_equal(reader.SearchResultToPandas.read(), result.df)
    images = reader.SearchResultToCatalog.read()
    assert list(images.entries) == ["10410", "10411"]
    assert images["10411"].read().image.values.tolist() == [10411]


def test_pipelines_of_intakes_own_making(here: dict[str, Any]) -> None:
    reader = NeuroVaultImages(image_ids=SOME, **here)
    expected = search(image_ids=SOME, **here).to_dask()
    mean = reader["maps"].mean("image").read()
    np.testing.assert_allclose(mean, expected.maps.mean("image"), atol=1e-6)
    assert reader.isel(image=0).read().maps.shape == (61, 73, 61)
    for wanted in ("xarray", "xarray:Dataset"):
        search_ = NeuroVaultSearch(image_ids=SOME, **here)
        pipeline = intake.auto_pipeline(search_, wanted)
        xr.testing.assert_identical(pipeline.read(), expected)


def test_a_pipeline_from_a_service(
    here: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NILEARN_DATA", here["data_dir"])
    page = NeuroVaultService(f"{here['url']}/images/10426/")
    dataset = intake.auto_pipeline(page, "xarray").read()
    assert dataset.image.values.tolist() == [10426]


def test_a_pipeline_in_a_catalog(here: dict[str, Any], tmp_path: Path) -> None:
    reader = NeuroVaultImages(image_ids=SOME, **here)
    cat = Catalog()
    cat["one"] = reader.isel(image=1)
    again = opened(cat, tmp_path)["one"].read()
    xr.testing.assert_identical(again, reader.read().isel(image=1))


# ---- catalogs ---------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_what_is_written_comes_out_as_it_went_in(
    query: dict[str, Any], tmp_path: Path, no_imports: None
) -> None:
    for kind in KINDS[:3]:
        reader = kind(**query)
        again = opened(reader.to_cat("mine"), tmp_path)["mine"]
        assert type(again) is kind
        assert again == reader
        assert again.kwargs == reader.kwargs == search(**query).to_arguments()
        assert hash(again) == hash(reader)


def test_a_reader_of_a_page_in_a_catalog(tmp_path: Path, no_imports: None) -> None:
    page = NeuroVaultService("http://a.org/collections/7/", metadata={"of": "a"})
    reader = NeuroVaultImages(page, image_terms={"not_mni": False}, max_images=100)
    cat = opened(reader.to_cat("mine"), tmp_path)
    assert cat["mine"] == reader
    assert cat["mine"].data == page
    assert cat["mine"].kwargs == reader.kwargs
    query = cat["mine"].to_reader("SearchResult").read().query
    assert (query.collection_ids, query.max_images) == ((7,), 100)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_result_is_written_as_a_catalog(
    query: dict[str, Any], version: int, tmp_path: Path, no_imports: None
) -> None:
    result = search(**query)
    path = result.to_intake(
        tmp_path / "maps.yaml", version=version, name="mine", description="All {{ x }}"
    )
    cat = intake.open_catalog(str(path))
    assert list(cat) == ["mine"]
    if version == 1:
        assert cat.mine.result == result
        assert tokenize(cat.mine.result) == tokenize(result)
        assert cat.mine.description == "All {{ x }}"
    else:
        assert NeuroVaultSearch(**cat["mine"].kwargs).read() == result
        assert cat["mine"].metadata == {"description": "All {{ x }}"}


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_the_second_version_is_what_intake_writes_itself(
    query: dict[str, Any], tmp_path: Path
) -> None:
    written = search(**query).to_intake(tmp_path / "ours.yaml", version=2, name="mine")
    cat = Catalog(entries={"mine": NeuroVaultImages(**query).to_entry()})
    cat.aliases["mine"] = "mine"
    theirs = tmp_path / "theirs.yaml"
    cat.to_yaml_file(str(theirs))
    assert yaml.safe_load(written.read_text("utf-8")) == yaml.safe_load(
        theirs.read_text("utf-8")
    )


def test_the_first_version_is_short(tmp_path: Path) -> None:
    result = search(image_terms={"map_type": "Z map"}, max_images=5)
    assert result.to_intake(tmp_path / "z maps.yml").read_text("utf-8") == (
        "sources:\n"
        "  z_maps:\n"
        "    driver: neurovault\n"
        "    args:\n"
        "      image_terms:\n"
        "        map_type: Z map\n"
        "      max_images: 5\n"
    )


def test_the_same_data_through_all_doors(
    here: dict[str, Any], tmp_path: Path, no_imports: None
) -> None:
    result = search(collection_ids=[3324], image_terms={"age": {"$gt": 28}}, **here)
    first = result.to_intake(tmp_path / "first.yaml")
    second = result.to_intake(tmp_path / "second.yaml", version=2)
    expected = result.read()
    xr.testing.assert_identical(intake.open_catalog(str(first)).first.read(), expected)
    lazy = intake.open_catalog(str(second))["second"].read()
    assert lazy.maps.name == result.to_dask().maps.name
    assert lazy.maps.data.name == result.to_dask().maps.data.name
    xr.testing.assert_identical(lazy.load(), expected)


def test_a_frozen_query_through_all_doors(
    here: dict[str, Any], tmp_path: Path, no_imports: None
) -> None:
    entry = search(image_ids=SOME, **here).freeze(tmp_path / "frozen.yaml")
    result = intake.open_catalog(str(entry)).frozen.result
    path = result.to_intake(tmp_path / "second.yaml", version=2)
    reader = intake.open_catalog(str(path))["second"]
    xr.testing.assert_identical(reader.read(), result.to_dask())
    assert reader.to_reader("SearchResult").read() == result
    with pytest.raises(ArgumentError, match=r"frozen query .* result\.thaw\(\)"):
        readers.SearchResultToCatalog().run(result)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"path": "maps.json"}, ArgumentError, r"must end in \.yaml"),
        ({"path": "maps"}, ArgumentError, r"must end in \.yaml"),
        ({"version": 3}, ArgumentError, "version=3 is no version"),
        ({"name": " "}, ArgumentError, "name=' ' is no name"),
        ({"path": "no/such/folder/a.yaml"}, StoreError, "give another path"),
        ({"description": "data(x)", "version": 2}, ArgumentError, "'data.x.' cannot"),
    ],
)
def test_a_catalog_that_cannot_be_written(
    change: dict[str, Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    path = tmp_path / change.pop("path", "a.yaml")
    with pytest.raises(error, match=text):
        search().to_intake(path, **change)
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_a_reference_is_refused_in_the_second_version_only(
    tmp_path: Path,
) -> None:
    result = search(image_terms={"name": {"$regex": "data(set|base)"}})
    with pytest.raises(ArgumentError, match="give version=1"):
        result.to_intake(tmp_path / "a.yaml", version=2)
    path = result.to_intake(tmp_path / "a.yaml")
    assert intake.open_catalog(str(path)).a.result == result


def test_parameters_at_any_depth(here: dict[str, Any], tmp_path: Path) -> None:
    terms = {"number_of_subjects": {"$gte": 12345}, "map_type": "Z map"}
    reader = NeuroVaultTable(collection_ids=[658], image_terms=terms, **here)
    cat = reader.to_cat("groups")
    cat.extract_parameter("groups", "smallest", value=12345, cls=SimpleUserParameter)
    entry = cat.get_entity("groups")
    entry.user_parameters["smallest"].set_default(40)
    again = opened(cat, tmp_path)
    assert again["groups"].read()["number_of_subjects"].min() == 40
    fewer = again.get_entity("groups").to_reader(smallest=64).read()
    assert sorted(fewer["number_of_subjects"].unique()) == [64, 66, 68]


def test_plain_values_from_whatever_python_has(tmp_path: Path) -> None:
    terms = {"number_of_subjects": GreaterOrEqual(20), "DOI": NotNull()}
    reader = NeuroVaultImages(
        image_terms=terms,
        image_ids=np.array(SOME),
        grid={"affine": np.eye(4), "shape": (4, 5, 6)},
        data_dir=tmp_path,
        resample=None,
    )
    text = yaml.safe_dump(reader.to_entry().to_dict())
    assert "!!" not in text
    assert "pickle" not in text
    assert opened(reader.to_cat("mine"), tmp_path)["mine"] == reader


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"image_terms": callable}, FilterError),
        ({"collection_ids": SECRET}, ArgumentError),
        ({"collection_ids": [658, SECRET]}, ArgumentError),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    kind: type[NeuroVaultReader],
    arguments: dict[str, Any],
    error: type[Exception],
    tmp_path: Path,
) -> None:
    reader = kind(**arguments)
    pipeline = reader.apply(str, output_instance="builtins:str")
    for write in (reader.to_entry, reader.to_cat, pipeline.to_cat):
        with pytest.raises(error, match="cannot be written down") as caught:
            write()
        assert SECRET not in str(caught.value)
    said = [repr(reader), str(reader.kwargs), repr(pipeline), str(reader.to_dict())]
    assert SECRET not in "".join(said)
    assert pickle.loads(pickle.dumps(reader)) == reader
    assert reader != kind()
    with pytest.raises(error, match="cannot be written down"):
        search(**arguments).to_intake(tmp_path / "a.yaml", version=2)
    assert list(tmp_path.iterdir()) == []


def test_readers_of_different_queries_are_different() -> None:
    assert NeuroVaultImages(image_ids=[1, 2]) != NeuroVaultImages(image_ids=[2, 1])
    assert NeuroVaultImages(image_ids=[1]) != NeuroVaultTable(image_ids=[1])
    one, other = (
        NeuroVaultImages(image_terms=dict(terms))
        for terms in ([("a", 1), ("b", [2, 3])], [("b", [3, 2]), ("a", 1)])
    )
    assert one == other
    assert hash(one) == hash(other)


# ---- catalogs of what was found ---------------------------------------------------


def test_a_catalog_of_collections(here: dict[str, Any], tmp_path: Path) -> None:
    reader = NeuroVaultCatalogReader(
        NeuroVaultService(here.pop("url")),
        collection_terms={"DOI": {"$null": False}},
        image_terms={"map_type": "Z map"},
        **here,
    )
    cat = reader.read()
    assert isinstance(cat, Catalog)
    assert list(cat.entries) == ["658", "3324"]
    name = "functional_localizer_pressing_buttons_reading_658"
    assert list(cat) == [name, "emotion_faces_and_scenes_in_four_laboratories_3324"]
    assert name in repr(cat)
    assert name in dir(cat)
    source = cat[name]
    assert source == cat["658"] == getattr(cat, name)
    assert source.metadata["description"].startswith("Collection 658: Functional")
    assert set(source.to_reader("pandas").read()["map_type"]) == {"Z map"}
    for twin in (opened(cat, tmp_path), cat.search("658")):
        assert twin[name] == source
    with pytest.raises(AttributeError, match="no_such"):
        reader.no_such  # noqa: B018  the access itself is tested


def test_a_catalog_of_images(here: dict[str, Any], tmp_path: Path) -> None:
    result = search(image_ids=[48002, 10426], grid="mni152-2mm", **here)
    cat = NeuroVaultSearch(**result.to_arguments()).SearchResultToCatalog.read()
    assert list(cat) == ["faces_vs_houses_48002", "left_vs_right_button_press_10426"]
    again = opened(cat, tmp_path)
    reader = again["faces_vs_houses_48002"]
    assert reader.metadata == {"description": "Image 48002: faces vs houses"}
    xr.testing.assert_identical(
        reader.read(), search(image_ids=48002, grid="mni152-2mm", **here).to_dask()
    )


def test_images_of_a_private_collection_in_a_catalog(
    here: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    result = search(collection_ids="env:MY_TOKEN", **here)
    cat = NeuroVaultSearch(**result.to_arguments()).SearchResultToCatalog.read()
    assert list(cat) == ["unpublished_map_1_90011", "unpublished_map_2_90012"]
    again = opened(cat, tmp_path)["90012"].to_reader("pandas").read()
    assert again["id"].tolist() == [90012]
    collections = NeuroVaultCatalogReader(collection_ids="env:MY_TOKEN", **here).read()
    assert collections["9001"].kwargs["collection_ids"] == ["env:MY_TOKEN"]
    assert SECRET not in (tmp_path / "written.yaml").read_text("utf-8")
    literal = search(collection_ids=SECRET, **here)
    with pytest.raises(ArgumentError, match="cannot be written down"):
        readers.SearchResultToCatalog().run(literal)


def test_many_entries_are_made_quickly_and_without_requests(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    here = {"url": fresh_server.url, "data_dir": str(data_dir)}
    cat = NeuroVaultCatalogReader(**here).read()
    assert asked(fresh_server) == ["/api/collections/"]
    for name in cat:
        assert isinstance(cat.get_entity(name), ReaderDescription)
        assert isinstance(cat[name], NeuroVaultImages)
    assert fresh_server.requests == []


def test_every_name_is_offered_by_its_module() -> None:
    for kind in (*KINDS, NeuroVaultService):
        assert getattr(readers, kind.__name__) is kind
    assert intake_neurovault.SearchResult is SearchResult


def test_intake_finds_the_readers_by_itself(run_python: Callable[..., Any]) -> None:
    code = """
import intake
found = intake.recommend("https://neurovault.org", head=False)
print([each.__name__ for each in found])
"""
    assert "NeuroVaultService" in run_python(code).stdout
