"""The driver as intake uses it: from a catalog's text to a table and a cube."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import distributed
import intake
import numpy as np
import pytest
import xarray as xr
import yaml
from dask.base import tokenize
from intake.catalog import Catalog
from nilearn.datasets.neurovault import GreaterOrEqual, IsIn, NotNull, ResultFilter

from intake_neurovault import SearchResult, search
from intake_neurovault.driver import NeuroVaultSource, open_packaged_catalog
from intake_neurovault.errors import ArgumentError, FilterError, UnknownArgumentError
from intake_neurovault.query import Query
from intake_neurovault.testing import NeuroVaultServer

SOME = [10426, 10410]
MOTOR = {
    "cognitive_paradigm_cogatlas": {"$contains": "motor"},
    "number_of_subjects": {"$gte": 60},
    "is_thresholded": False,
    "not_mni": False,
}
OpenCatalog = Callable[..., Catalog]


@pytest.fixture
def catalog(tmp_path: Path) -> OpenCatalog:
    """Write entries to a file, and open it."""

    def opened(name: str = "some", **entries: dict[str, Any]) -> Catalog:
        whole = {key: {"driver": "neurovault"} | each for key, each in entries.items()}
        path = tmp_path / f"{name}.yaml"
        text = yaml.safe_dump({"sources": whole}, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return intake.open_catalog(str(path))

    return opened


@pytest.fixture(scope="module")
def here(
    server: NeuroVaultServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Point a source at the local server, and at one store for the whole module."""
    folder = tmp_path_factory.mktemp("nilearn_data")
    return {"url": server.url, "data_dir": str(folder), "retries": 1}


@pytest.fixture
def source(here: dict[str, Any]) -> NeuroVaultSource:
    return intake.open_neurovault(image_ids=SOME, **here)


def terms_of(source: NeuroVaultSource) -> dict[str, Any]:
    return source.query.image_filter.to_mapping()


def reopened(source: NeuroVaultSource, folder: Path) -> NeuroVaultSource:
    """Write a source down, and read it from the file."""
    path = folder / "written.yaml"
    path.write_text(source.yaml(), encoding="utf-8")
    return intake.open_catalog(str(path))[source.name]


# ---- opening --------------------------------------------------------------------


def test_intake_offers_the_driver() -> None:
    assert intake.open_neurovault is NeuroVaultSource
    assert "open_neurovault" in dir(intake)
    assert NeuroVaultSource.container == "xarray"


def test_its_signature_is_that_of_search() -> None:
    def shown(function: Callable[..., object]) -> dict[str, tuple[object, object]]:
        parameters = inspect.signature(function).parameters.values()
        return {each.name: (each.kind, each.default) for each in parameters}

    expected = shown(search)
    assert expected.pop("unknown")[0] is inspect.Parameter.VAR_KEYWORD
    keyword = (inspect.Parameter.KEYWORD_ONLY, None)
    assert shown(intake.open_neurovault) == expected | {"metadata": keyword}
    assert list(shown(intake.open_neurovault)) == [*expected, "metadata"]


def test_it_takes_no_positional_argument() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        intake.open_neurovault([10426])


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("max_image", "did you mean 'max_images'"),
        ("colection_ids", "did you mean 'collection_ids'"),
        ("image_filter", "give conditions on images"),
        ("zzz", "it has image_terms, collection_terms"),
    ],
)
def test_a_misspelt_argument_is_a_type_error(
    catalog: OpenCatalog, name: str, suggestion: str
) -> None:
    text = f"the driver 'neurovault' has no argument '{name}'; {suggestion}"
    with pytest.raises(TypeError, match=text):
        intake.open_neurovault(**{name: 3})
    cat = catalog(wrong={"args": {name: 3}}, right={})
    assert list(cat) == ["wrong", "right"]
    with pytest.raises(UnknownArgumentError, match=text):
        cat["wrong"]
    called = text.replace("driver 'neurovault'", "entry 'right'")
    with pytest.raises(UnknownArgumentError, match=called):
        cat.right(**{name: 3})


def test_a_misspelt_parameter_is_told_which_there_are(catalog: OpenCatalog) -> None:
    terms = {
        "number_of_subjects": {"$gte": "{{ smallest }}"},
        "name": {"$regex": "{{ word | default('face') }}"},
    }
    smallest = {"description": "", "type": "int", "default": 10}
    entry = {"args": {"image_terms": terms}, "parameters": {"smallest": smallest}}
    cat = catalog(maps=entry)
    text = "the entry 'maps' has no argument 'smalest'; did you mean 'smallest'?"
    with pytest.raises(UnknownArgumentError, match=re.escape(text)):
        cat.maps(word="house", smalest=20)
    with pytest.raises(UnknownArgumentError, match="'zzz'; it has smallest, word, im"):
        cat.maps(word="house")(zzz=20)


def test_a_wrong_value_in_a_catalog_names_the_argument(catalog: OpenCatalog) -> None:
    with pytest.raises(ArgumentError, match="mode"):
        catalog(wrong={"args": {"mode": "online"}})["wrong"]


def test_yaml_values_arrive_as_they_are(catalog: OpenCatalog) -> None:
    args = {
        "image_terms": {
            "is_thresholded": False,
            "map_type": ["Z map", "T map"],
            "figure": None,
            "add_date": {"$gte": "2015-01-01"},
        },
        "max_images": None,
        "grid": None,
        "progress": False,
    }
    source = catalog(plain={"args": args})["plain"]
    assert source == intake.open_neurovault(**args)
    assert terms_of(source)["figure"] == {"$null": True}
    assert source.query.max_images is None
    assert source.result.reader.grid is None
    assert source.result.vault.pool.progress is False


def test_nilearns_way_to_name_the_grid_is_understood(catalog: OpenCatalog) -> None:
    cat = catalog(native={"args": {"resample": False}})
    assert cat.native.result.reader.grid is None
    assert cat.native(resample=True) == intake.open_neurovault()


def test_what_was_given_may_change_afterwards() -> None:
    terms, ids = {"map_type": "Z map"}, [10426]
    source = intake.open_neurovault(image_terms=terms, image_ids=ids)
    terms["map_type"] = "T map"
    ids.append(10410)
    for same in (source, source(nan="keep"), pickle.loads(pickle.dumps(source))):
        assert terms_of(same) == {"map_type": "Z map"}
        assert same.query.image_ids == (10426,)


def test_an_iterator_is_read_once_and_kept() -> None:
    source = intake.open_neurovault(image_ids=(number for number in SOME))
    assert source.query.image_ids == tuple(SOME)
    assert source(nan="zero").query.image_ids == tuple(SOME)
    assert pickle.loads(pickle.dumps(source)) == source


# ---- parameters and templates ---------------------------------------------------


@pytest.mark.parametrize(("given", "expected"), [({}, 5), ({"max_images": 7}, 7)])
def test_a_parameter_named_as_its_argument(
    catalog: OpenCatalog, given: dict[str, Any], expected: int
) -> None:
    entry = {
        "args": {"max_images": "{{ max_images }}"},
        "parameters": {"max_images": {"description": "", "type": "int", "default": 5}},
    }
    assert catalog(few=entry).few(**given).query.max_images == expected


@pytest.mark.parametrize("args", [{}, {"max_images": 3}])
def test_a_parameter_that_hides_its_argument_is_heard_all_the_same(
    catalog: OpenCatalog, args: dict[str, Any]
) -> None:
    limits = {"description": "", "type": "int", "default": 5, "max": 9}
    cat = catalog(few={"args": args, "parameters": {"max_images": limits}})
    source = cat.few(max_images=7.0)
    assert source.query.max_images == 7
    assert source(grid=2).query.max_images == 7
    assert (source.name, source.cat) == ("few", cat)
    with pytest.raises(ValueError, match="max_images=10 is greater than 9"):
        cat.few(max_images=10)


def test_a_template_may_make_an_argument_from_its_namesake(
    catalog: OpenCatalog,
) -> None:
    pages = {"description": "", "type": "int", "default": 2}
    args = {"max_images": "{{ max_images * 10 }}"}
    entry = {"args": args, "parameters": {"max_images": pages}}
    assert catalog(pages=entry).pages(max_images=3).query.max_images == 30


@pytest.mark.parametrize(
    ("kind", "field", "terms", "given", "expected"),
    [
        ("int", "number_of_subjects", {"$gte": "{{ it }}"}, 20, {"$gte": 20}),
        ("float", "smoothness_fwhm", {"$lt": "{{ it }}"}, 7.5, {"$lt": 7.5}),
        ("bool", "is_thresholded", "{{ it }}", True, True),
        ("bool", "is_thresholded", {"$ne": "{{ it }}"}, False, {"$ne": False}),
        (
            "list",
            "number_of_subjects",
            {"$in": ["{{ it[0] }}", "{{ it[1] }}"]},
            [20, 24],
            {"$in": [20, 24]},
        ),
    ],
)
def test_bounds_arrive_as_text_and_are_read_back(
    catalog: OpenCatalog, kind: str, field: str, terms: Any, given: Any, expected: Any
) -> None:
    parameter = {"description": "", "type": kind, "default": given}
    entry = {
        "args": {"image_terms": {"$or": [{field: terms}]}},
        "parameters": {"it": parameter},
    }
    cat = catalog(nested=entry)
    assert cat.nested == cat.nested(it=given)
    assert cat.nested.query == Query.parse(image_terms={"$or": [{field: expected}]})


def test_a_date_in_a_template(catalog: OpenCatalog) -> None:
    entry = {
        "args": {"image_terms": {"add_date": {"$gte": "{{ year }}-01-01"}}},
        "parameters": {"year": {"description": "", "type": "int", "default": 2016}},
    }
    source = catalog(recent=entry).recent(year=2018)
    assert source.query.image_filter({"add_date": "2018-03-09T10:20:30+01:00"})
    assert not source.query.image_filter({"add_date": "2017-03-09T10:20:30+01:00"})


def test_ids_in_a_template(catalog: OpenCatalog) -> None:
    ids = {"description": "", "type": "list", "default": [1, 2]}
    cat = catalog(
        same={
            "args": {"image_ids": "{{ image_ids }}"},
            "parameters": {"image_ids": ids},
        },
        other={"args": {"image_ids": "{{ wanted }}"}, "parameters": {"wanted": ids}},
    )
    assert cat.same.query.image_ids == cat.other.query.image_ids == (1, 2)
    assert cat.same(image_ids=SOME).query.image_ids == tuple(SOME)
    assert cat.other(wanted=SOME).query.image_ids == tuple(SOME)


def test_a_text_parameter_works_apart_from_intakes_warning(
    catalog: OpenCatalog,
) -> None:
    entry = {
        "args": {"grid": "{{ grid }}", "progress": "{{ bars }}"},
        "parameters": {
            "grid": {"description": "", "type": "str", "default": "mni152-2mm"},
            "bars": {"description": "", "type": "bool", "default": False},
        },
    }
    with pytest.warns(UserWarning, match="Shell command not executed"):
        source = catalog(text=entry)["text"]
    assert source.result.reader.grid.name == "mni152-2mm"
    assert source.result.vault.pool.progress is False


def test_a_parameter_of_the_whole_catalog(tmp_path: Path) -> None:
    path = tmp_path / "shared.yaml"
    path.write_text(
        """\
metadata:
  parameters:
    smallest: {description: smallest group, type: int, default: 20}
sources:
  groups:
    driver: neurovault
    args: {image_terms: {number_of_subjects: {$gte: "{{ smallest }}"}}}
"""
    )
    cat = intake.open_catalog(str(path))
    assert terms_of(cat.groups) == {"number_of_subjects": {"$gte": 20}}
    assert terms_of(cat.groups(smallest=30)) == {"number_of_subjects": {"$gte": 30}}
    assert terms_of(cat(smallest=40).groups) == {"number_of_subjects": {"$gte": 40}}


def test_the_folder_of_the_catalog(catalog: OpenCatalog, tmp_path: Path) -> None:
    source = catalog(near={"args": {"data_dir": "{{ CATALOG_DIR }}/maps"}})["near"]
    assert source.result.vault.mirror.store.root == tmp_path / "maps/neurovault"
    assert list(tmp_path.iterdir()) == [tmp_path / "some.yaml"]


def test_the_environment(
    catalog: OpenCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = {"data_dir": "{{ env(LAB_MAPS) }}", "url": "{{ env(LAB_SERVER) }}"}
    with pytest.raises(ArgumentError, match=r"data_dir='' is .* environment"):
        catalog(lab={"args": args})["lab"]
    monkeypatch.setenv("LAB_MAPS", str(tmp_path / "maps"))
    monkeypatch.setenv("LAB_SERVER", "http://127.0.0.1:9")
    mirror = catalog(lab={"args": args})["lab"].result.vault.mirror
    assert mirror.store.root == tmp_path / "maps/neurovault"
    assert mirror.client.url == "http://127.0.0.1:9"


# ---- calls ----------------------------------------------------------------------


@pytest.fixture
def groups(catalog: OpenCatalog) -> Catalog:
    smallest = {"description": "", "type": "int", "default": 20}
    return catalog(
        groups={
            "description": "Maps of groups",
            "metadata": {"kind": "query"},
            "args": {"image_terms": {"number_of_subjects": {"$gte": "{{ smallest }}"}}},
            "parameters": {"smallest": smallest},
        }
    )


def test_a_later_call_keeps_what_an_earlier_one_said(groups: Catalog) -> None:
    source = groups.groups(smallest=50)(max_images=7).get(grid=2)
    expected = {
        "image_terms": {"number_of_subjects": {"$gte": 50}},
        "max_images": 7,
        "grid": 2,
    }
    assert source == intake.open_neurovault(**expected)
    assert terms_of(source(smallest=30)) == {"number_of_subjects": {"$gte": 30}}
    assert source(smallest=30).query.max_images == 7
    assert terms_of(source) == {"number_of_subjects": {"$gte": 50}}


def test_a_call_leaves_the_entry_as_it_was(groups: Catalog) -> None:
    changed = groups.groups(smallest=50, max_images=7)
    assert groups.groups is groups.groups
    assert groups.groups.result.to_arguments() == {
        "image_terms": {"number_of_subjects": {"$gte": 20}}
    }
    assert changed.name == "groups"
    assert changed.description == "Maps of groups"
    assert changed.metadata["kind"] == "query"
    assert changed() == changed


def test_terms_at_the_call_replace_those_of_the_entry(groups: Catalog) -> None:
    assert terms_of(groups.groups(image_terms={"map_type": "Z map"})) == {
        "map_type": "Z map"
    }


def test_a_source_of_no_catalog_can_be_called_too(source: NeuroVaultSource) -> None:
    source.name, source.description = "mine", "two maps"
    changed = source(max_images=1)(nan="zero")
    assert changed.query.max_images == 1
    assert changed.query.image_ids == tuple(SOME)
    assert (changed.name, changed.description) == ("mine", "two maps")
    assert source.query.max_images is None


def test_an_entry_can_be_called_by_itself(groups: Catalog) -> None:
    entry = groups.walk()["groups"]
    assert entry(max_images=3)(grid=2).query.max_images == 3


# ---- nothing is requested before somebody looks ------------------------------------


def test_catalogs_can_be_looked_through_without_a_request(
    catalog: OpenCatalog,
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    args = {"url": fresh_server.url, "data_dir": str(data_dir), "image_terms": MOTOR}
    catalog("inner", motor={"args": args, "description": "Pressing buttons"})
    inner = {"driver": "yaml_file_cat", "args": {"path": str(tmp_path / "inner.yaml")}}
    cat = catalog("outer", nested=inner, motor={"args": args})
    assert {"nested", "motor"} <= set(dir(cat))
    assert list(cat.search("buttons", depth=3)) == ["nested.motor"]
    assert set(cat.walk(depth=3)) == {"nested", "nested.motor", "motor"}
    assert "motor" in cat
    assert hasattr(cat, "motor")
    nested = [cat.nested.motor, cat["nested", "motor"], *cat.nested.values()]
    for source in [cat.motor, *nested]:
        assert bool(source)
        assert "not searched yet" in repr(source)
        assert "not searched yet" in source._repr_html_()
        assert source.describe()["container"] == "xarray"
        assert pickle.loads(pickle.dumps(source)) == copy.deepcopy(source) == source
        assert "max_images" not in source.yaml()
    assert pickle.loads(pickle.dumps(cat)).motor == cat.motor
    assert fresh_server.requests == []
    assert list(data_dir.iterdir()) == []
    assert len(cat.motor) == 4
    assert fresh_server.requests != []


def test_an_entry_describes_itself(groups: Catalog) -> None:
    about = groups.groups.describe()
    assert about["name"] == "groups"
    assert about["description"] == "Maps of groups"
    assert about["driver"] == ["neurovault"]
    assert about["metadata"] == {"kind": "query"}
    assert [each["name"] for each in about["user_parameters"]] == ["smallest"]
    assert "smallest" in repr(groups.groups.entry)


def test_reprs_say_what_is_looked_for(groups: Catalog) -> None:
    (line,) = repr(groups.groups).splitlines()
    assert line.startswith("<NeuroVaultSource 'groups': <SearchResult: not searched")
    assert "number_of_subjects >= 20" in line
    page = groups.groups._repr_html_()
    assert "<b>groups</b>: Maps of groups" in page
    assert "number_of_subjects &gt;= 20" in page
    assert groups.groups._ipython_display_ is None


def test_html_is_escaped() -> None:
    source = intake.open_neurovault(image_terms={"name": "<i>x</i>"})
    source.name, source.description = "<u>a</u>", "<b>b</b>"
    page = source._repr_html_()
    assert [tag for tag in ("<i>", "<u>", "<b>b") if tag in page] == []
    assert "&lt;i&gt;x&lt;/i&gt;" in page


# ---- what a source gives ---------------------------------------------------------


def test_a_source_gives_the_table(source: NeuroVaultSource) -> None:
    assert len(source) == 2
    assert source.keys() == SOME == source.df["id"].tolist()
    assert [image.id for image in source] == SOME
    assert source.failures.empty
    assert source.explain().columns.tolist() == [
        "term",
        "applied_to",
        "judged_by",
        "seen",
        "removed",
        "alone",
        "to_blame",
    ]
    assert source.query.image_ids == tuple(SOME)


def test_a_source_gives_files_and_cubes(source: NeuroVaultSource) -> None:
    assert list(source.fetch()) == SOME
    lazy = source.to_dask()
    assert lazy.maps.chunks is not None
    whole = source.read()
    assert whole.maps.chunks is None
    assert lazy.maps.dims == ("image", "x", "y", "z")
    assert lazy.maps.shape == whole.maps.shape == (2, 61, 73, 61)
    np.testing.assert_array_equal(lazy.maps.values, whole.maps.values)
    np.testing.assert_array_equal(source.read_partition(1), whole.maps[1])
    assert [int(each.image) for each in source.read_chunked()] == SOME
    tree = source.to_datatree()
    assert isinstance(tree, xr.DataTree)
    assert [node.maps.shape for node in tree.children.values()] == [(2, 61, 73, 61)]


def test_a_source_has_what_a_result_has() -> None:
    offered = {name for name in dir(SearchResult) if not name.startswith("_")}
    ours = {"found", "to_arguments"}  # what the package itself needs
    assert offered - ours - set(dir(NeuroVaultSource)) == set()


def test_a_source_writes_itself_down(source: NeuroVaultSource, tmp_path: Path) -> None:
    file = source.to_intake(
        tmp_path / "some.yaml", name="two_maps", description="Two maps"
    )
    assert intake.open_catalog(str(file)).two_maps.query == source.query
    assert source.to_bunch().images_meta[0]["id"] == source.keys()[0]
    assert source.missing() == []
    assert source.listed == source.result.listed


def test_a_source_gives_cubes_by_grid(here: dict[str, Any]) -> None:
    source = intake.open_neurovault(image_ids=[10426, 48000], grid=None, **here)
    cubes = source.to_dataset_dict()
    assert list(cubes) == list(source.to_datatree().children)
    assert [each.maps.shape for each in cubes.values()] == [
        (1, 53, 63, 46),
        (1, 91, 109, 91),
    ]


# ---- less of a source --------------------------------------------------------------


def test_a_part_of_a_source_is_a_source(
    catalog: OpenCatalog, here: dict[str, Any], tmp_path: Path
) -> None:
    entry = {"args": here | {"collection_ids": [658]}, "metadata": {"kind": "query"}}
    whole = catalog(some=entry | {"description": "Some maps"}).some
    assert whole.unique("collection_id") == [658]
    assert whole.nunique()["id"] == whole.matched() == len(whole) == 20
    wanted = {"number_of_subjects": {"$gte": 20}}
    for part in (whole.search(image_terms=wanted, grid="mni152-2mm"), whole.sample(4)):
        assert isinstance(part, NeuroVaultSource)
        assert (part.name, part.description) == ("some", "Some maps")
        assert 0 < len(part) < len(whole)
        assert part.keys() == part.result.keys()
        for twin in (pickle.loads(pickle.dumps(part)), reopened(part, tmp_path)):
            assert twin == part
            assert twin.keys() == part.keys()
            assert tokenize(twin) == tokenize(part)
    assert part.discover()["shape"][0] == 4
    assert len(part(image_terms={"id": 3})) == 0


def test_a_part_of_a_source_asks_the_server_nothing(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    place = {"url": fresh_server.url, "data_dir": str(data_dir)}
    whole = intake.open_neurovault(collection_ids=[658], mode="update", **place)
    assert len(whole) == 20
    fresh_server.clear_requests()
    assert len(whole.search(image_terms=MOTOR).sample(1)) == 1
    assert fresh_server.requests == []


def test_what_cannot_be_written_down_is_no_source(here: dict[str, Any]) -> None:
    source = intake.open_neurovault(image_ids=SOME, **here)
    with pytest.raises(FilterError, match="Python function cannot be written down"):
        source.search(image_terms=callable)
    assert source.result.search(image_terms=callable).keys() == []


@pytest.mark.parametrize("place", [-1, 2])
def test_a_partition_that_is_not_there(source: NeuroVaultSource, place: int) -> None:
    with pytest.raises(IndexError, match=f"Partition {place} does not.*2 images"):
        source.read_partition(place)


def test_discover_tells_shape_and_kind(source: NeuroVaultSource) -> None:
    about = source.discover()
    assert about["dtype"] == source.dtype == "float32"
    assert about["shape"] == source.shape == (2, 61, 73, 61)
    assert about["npartitions"] == source.npartitions == 2
    assert about["metadata"]["dims"] == ["image", "x", "y", "z"]


def test_discover_leaves_the_given_metadata_alone(here: dict[str, Any]) -> None:
    metadata = {"kind": "images"}
    source = intake.open_neurovault(image_ids=SOME, metadata=metadata, **here)
    before = (source.yaml(), hash(source), tokenize(source), pickle.dumps(source))
    assert set(source.discover()["metadata"]) > {"kind", "dims", "collections"}
    assert (
        source.yaml(),
        hash(source),
        tokenize(source),
        pickle.dumps(source),
    ) == before
    assert metadata == {"kind": "images"}
    assert source(nan="zero").metadata == {"kind": "images"}


def test_closing_forgets_what_was_found(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    here = {"url": fresh_server.url, "data_dir": data_dir, "metadata_ttl": 0}
    with intake.open_neurovault(collection_ids=[658], **here) as source:
        assert source.npartitions == len(source) == 20
        fresh_server.archive.add_image(658, b"", id=777_001)
        assert len(source) == 20
    assert len(source) == 21
    assert source.discover()["npartitions"] == 21


# ---- written down ----------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"image_ids": SOME, "grid": "mni152-2mm", "chunks": 3},
        {"image_ids": np.array(SOME), "timeout": np.float64(3), "workers": np.int64(2)},
        {"image_ids": range(3, 6), "trusted_hosts": {"b.org", "a.org"}},
        {"collection_ids": ["env:MY_TOKEN"], "data_dir": Path("maps")},
        {"image_terms": MOTOR, "max_images": None, "grid": None},
        {"grid": {"affine": np.diag([4.0, 4, 4, 1]), "shape": (40, 50, 40)}},
        {"resample": False, "fill_value": float("nan"), "nan": "zero"},
        {
            "image_terms": {"number_of_subjects": GreaterOrEqual(20), "DOI": NotNull()},
            "collection_terms": {"id": IsIn(658, 3324)},
        },
        {"image_terms": ResultFilter(map_type="Z map")},
        {
            "image_terms": {
                "$or": [{"name": {"$regex": r"^a{2,3}\d"}}, {"figure": None}]
            }
        },
        {"errors": "skip", "metadata_ttl": "2h", "mode": "offline", "progress": True},
    ],
)
def test_what_is_written_opens_as_an_equal_source(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    source = intake.open_neurovault(metadata={"kind": "query"}, **arguments)
    source.name, source.description = "written", "as it was"
    again = reopened(source, tmp_path)
    assert again == source
    assert hash(again) == hash(source)
    assert tokenize(again) == tokenize(source)
    assert (again.name, again.description) == ("written", "as it was")
    assert again.metadata["kind"] == "query"
    assert again.yaml() == source.yaml()


def test_an_entry_is_written_with_what_its_call_said(
    groups: Catalog, tmp_path: Path
) -> None:
    source = groups.groups(smallest=50)
    assert reopened(source, tmp_path) == source
    written = yaml.safe_load(source.yaml())["sources"]["groups"]
    assert written == {
        "driver": "neurovault",
        "description": "Maps of groups",
        "metadata": {"kind": "query"},
        "args": {"image_terms": {"number_of_subjects": {"$gte": 50}}},
    }


def test_a_catalog_takes_a_source_in(groups: Catalog, tmp_path: Path) -> None:
    source = groups.groups(max_images=3)
    groups.add(source, name="three")
    assert intake.open_catalog(str(tmp_path / "some.yaml")).three == source


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"image_terms": callable}, FilterError, "cannot be written down; express"),
        (
            {"image_terms": ResultFilter(map_type="Z map").OR(callable)},
            FilterError,
            "cannot be written down; express",
        ),
        ({"collection_ids": "ABCDEFGH"}, ArgumentError, "env:NAME"),
    ],
)
def test_what_cannot_be_written_is_refused_in_a_sentence(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    source = intake.open_neurovault(**arguments)
    with pytest.raises(error, match=text) as caught:
        source.yaml()
    message = str(caught.value)
    assert "\n" not in message
    assert "ABCDEFGH" not in message + repr(source) + source._repr_html_()


# ---- copies ----------------------------------------------------------------------


def test_a_copy_is_equal_and_keeps_its_name(groups: Catalog) -> None:
    source = groups.groups(smallest=30)
    for twin in (pickle.loads(pickle.dumps(source)), copy.copy(source)):
        assert twin == source
        assert hash(twin) == hash(source)
        assert tokenize(twin) == tokenize(source)
        assert (twin.name, twin.description) == ("groups", "Maps of groups")
        assert twin.metadata == source.metadata
        assert terms_of(twin(max_images=2)) == {"number_of_subjects": {"$gte": 30}}
        with pytest.raises(UnknownArgumentError, match="no argument 'smallest'"):
            twin(smallest=40)


def test_a_function_can_be_copied_where_python_can() -> None:
    source = intake.open_neurovault(image_terms=callable)
    assert pickle.loads(pickle.dumps(source)) == source
    other = intake.open_neurovault(image_terms=inspect.isfunction)
    assert other != source
    assert tokenize(other) != tokenize(source)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"max_images": 7}),
        ({"image_ids": [1, 2]}, {"image_ids": [2, 1]}),
        ({"image_terms": {"a": NotNull()}}, {"image_terms": {"a": "x"}}),
        ({"image_terms": lambda _: True}, {"image_terms": lambda _: False}),
        ({"grid": 2}, {"grid": 3}),
        ({"chunks": 1}, {"chunks": 2}),
        ({"url": "http://a.org"}, {"url": "http://b.org"}),
        ({"data_dir": "a"}, {"data_dir": "b"}),
        ({"mode": "offline"}, {"mode": "update"}),
        ({"errors": "skip"}, {"errors": "raise"}),
    ],
)
def test_different_queries_are_different(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = intake.open_neurovault(**one), intake.open_neurovault(**other)
    assert first != second
    assert tokenize(first) != tokenize(second)
    assert first == intake.open_neurovault(**one)
    assert tokenize(first) == tokenize(intake.open_neurovault(**one))
    assert first != "something else"


def test_the_order_of_terms_makes_no_difference() -> None:
    terms = dict(reversed(MOTOR.items()))
    one, other = (intake.open_neurovault(image_terms=each) for each in (MOTOR, terms))
    assert one == other
    assert tokenize(one) == tokenize(other)
    assert len({one, other}) == 1


def test_a_copy_works_in_another_process(
    source: NeuroVaultSource, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    path = tmp_path / "source.pickle"
    path.write_bytes(pickle.dumps(source))
    code = """
import pickle, sys
from pathlib import Path
from dask.base import tokenize
source = pickle.loads(Path(sys.argv[1]).read_bytes())
print(tokenize(source), source.keys(), source.read_partition(0).shape)
"""
    expected = f"{tokenize(source)} {SOME} (61, 73, 61)\n"
    assert run_python(code, str(path)).stdout == expected


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as running,
    ):
        yield running


def test_a_source_travels_to_a_cluster(
    client: distributed.Client, source: NeuroVaultSource
) -> None:
    wait = timedelta(seconds=60)
    counts = [
        client.submit(lambda each: len(each.keys()), each).result(wait)
        for each in (source, source(max_images=1))
    ]
    assert counts == [2, 1]
    mean = client.compute(source.to_dask().maps.mean("image")).result(wait)
    np.testing.assert_allclose(mean, source.read().maps.mean("image"), atol=1e-6)


# ---- the packaged catalogs ---------------------------------------------------------


def test_the_packaged_catalogs_can_be_opened_by_name() -> None:
    assert list(open_packaged_catalog()) == list(intake.cat.neurovault)
    assert "my_query" in open_packaged_catalog("tutorial")
