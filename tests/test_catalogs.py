"""The catalogs that come with the package: every entry opens, and says what it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import intake
import pytest
import yaml
from intake.catalog import Catalog

from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.query import DEFAULTS, Query
from intake_neurovault.testing import NeuroVaultServer

FOLDER = Path(__file__).parents[1] / "catalogs"
FILES = sorted(FOLDER.glob("*.yaml"))
SPECS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text("utf-8"))["sources"] for path in FILES
}
ENTRIES = [(file, entry) for file, entries in SPECS.items() for entry in entries]
KINDS = {"collection", "images", "atlas", "query"}
PAGE = re.compile(r"https://neurovault\.org/((collections|images)/\d+/)?")


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def linked_collections(file: str, entry: str) -> list[int]:
    pages = as_list(SPECS[file][entry]["metadata"]["url"])
    return [int(n) for page in pages for n in re.findall(r"collections/(\d+)", page)]


LINKED = [
    (file, entry)
    for file, entry in ENTRIES
    if linked_collections(file, entry)
    and "collection_ids" in SPECS[file][entry]["args"]
]

every_entry = pytest.mark.parametrize(("file", "entry"), ENTRIES)


@pytest.fixture(scope="module")
def catalogs() -> dict[str, Catalog]:
    return {path.stem: intake.open_catalog(str(path)) for path in FILES}


@pytest.fixture(scope="module")
def cat(catalogs: dict[str, Catalog]) -> Catalog:
    return catalogs["neurovault"]


def test_there_are_many_entries() -> None:
    assert set(SPECS) == {"neurovault", "tutorial"}
    assert len(SPECS["neurovault"]) >= 18


def test_intake_reads_the_same_entries(catalogs: dict[str, Catalog]) -> None:
    assert {file: list(cat) for file, cat in catalogs.items()} == {
        file: list(entries) for file, entries in SPECS.items()
    }


def test_the_installed_package_offers_them_to_intake() -> None:
    assert "neurovault" in list(intake.cat)
    assert list(intake.cat.neurovault) == list(SPECS["neurovault"])
    assert intake.cat.neurovault.pain_chang2015.query.collection_ids == (504,)


def test_intake_finds_them_where_no_environment_is_activated(
    run_python: Callable[..., Any],
) -> None:
    # intake then needs distutils: Python 3.12 has none but setuptools'.
    run_python("""\
import os, warnings
warnings.simplefilter("ignore")
for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
    os.environ.pop(name, None)
os.environ["PATH"] = ""
import intake
assert "neurovault" in intake.cat
""")


@every_entry
def test_it_opens_without_a_request(
    catalogs: dict[str, Catalog], file: str, entry: str
) -> None:
    source = catalogs[file][entry]
    assert isinstance(source, NeuroVaultSource)
    assert isinstance(source.query, Query)
    assert source.name == entry


@every_entry
def test_it_asks_for_something(
    catalogs: dict[str, Catalog], file: str, entry: str
) -> None:
    args = SPECS[file][entry]["args"]
    query = catalogs[file][entry].query
    assert query.explicit == bool({"image_ids", "collection_ids"} & set(args))
    assert query != Query.parse()


@every_entry
def test_it_is_the_same_after_a_round_trip(
    catalogs: dict[str, Catalog], file: str, entry: str, tmp_path: Path
) -> None:
    source = catalogs[file][entry]
    path = tmp_path / "again.yaml"
    path.write_text(source.yaml(), encoding="utf-8")
    assert intake.open_catalog(str(path))[entry].query == source.query


@every_entry
def test_its_arguments_are_those_of_search(file: str, entry: str) -> None:
    assert set(SPECS[file][entry]["args"]) <= set(DEFAULTS)


@every_entry
def test_it_says_what_it_is(file: str, entry: str) -> None:
    spec = SPECS[file][entry]
    assert spec["driver"] == "neurovault"
    assert spec["description"].endswith(".")
    assert spec["metadata"]["kind"] in KINDS
    assert spec["metadata"]["license"]
    pages = as_list(spec["metadata"]["url"])
    assert [page for page in pages if not PAGE.fullmatch(page)] == []


@pytest.mark.parametrize("entry", SPECS["neurovault"])
def test_what_is_public_is_in_the_public_domain(entry: str) -> None:
    assert SPECS["neurovault"][entry]["metadata"]["license"] == "CC0-1.0"


@every_entry
def test_its_name_is_not_taken_by_the_catalog(file: str, entry: str) -> None:
    empty = Catalog()
    assert entry.isidentifier()
    assert entry not in set(dir(Catalog)) | set(vars(empty))


@pytest.mark.parametrize(("file", "entry"), LINKED)
def test_a_whole_collection_is_linked(file: str, entry: str) -> None:
    spec = SPECS[file][entry]
    assert linked_collections(file, entry) == spec["args"]["collection_ids"]


@every_entry
def test_parameters_are_used_and_do_not_hide_arguments(file: str, entry: str) -> None:
    spec = SPECS[file][entry]
    text = yaml.safe_dump(spec["args"])
    for name, parameter in spec.get("parameters", {}).items():
        assert name not in DEFAULTS
        assert f"{{{{ {name} }}}}" in text
        assert parameter["type"] == "int"
        assert parameter["description"]


@pytest.mark.parametrize(
    ("entry", "given", "expected"),
    [
        ("narps_team", {}, {"collection_ids": [4735]}),
        ("narps_team", {"team": 5680}, {"collection_ids": [5680]}),
        ("one_image", {}, {"image_ids": [10426]}),
        ("one_image", {"image_id": 32980}, {"image_ids": [32980]}),
        ("one_collection", {"collection_id": 1952}, {"collection_ids": [1952]}),
        ("stop_go", {"image_ids": [151]}, {"image_ids": [151]}),
        (
            "brainpedia",
            {"max_images": 7},
            {"collection_ids": [1952], "max_images": 7},
        ),
        (
            "brainpedia",
            {"image_terms": {"map_type": "Z map"}},
            {"collection_ids": [1952], "image_terms": {"map_type": "Z map"}},
        ),
    ],
)
def test_explicit_entries_can_be_changed_at_the_call(
    cat: Catalog, entry: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert cat[entry](**given).query == Query.parse(**expected)


@pytest.mark.parametrize(
    ("entry", "given", "number"),
    [
        ("group_maps", {}, 20),
        ("group_maps", {"min_subjects": 50}, 50),
        ("emotion_zmaps", {}, 10),
        ("emotion_zmaps", {"min_subjects": 25, "max_images": 3}, 25),
    ],
)
def test_the_smallest_sample_is_a_number(
    cat: Catalog, entry: str, given: dict[str, int], number: int
) -> None:
    query = cat[entry](**given).query
    terms = query.image_filter.to_mapping()
    assert terms["number_of_subjects"] == {"$gte": number}
    assert query.max_images == given.get("max_images", 100)


@pytest.mark.parametrize(
    ("given", "name", "matches"),
    [
        ({}, "Emotional regulation", True),
        ({}, "Stroop task", False),
        ({"paradigm": "stroop"}, "Color-word Stroop task", True),
        ({"paradigm": "stroop"}, "emotion", False),
    ],
)
def test_a_paradigm_is_text(
    cat: Catalog, given: dict[str, str], name: str, matches: bool
) -> None:
    record = {
        "cognitive_paradigm_cogatlas": name,
        "map_type": "Z map",
        "is_thresholded": False,
        "not_mni": False,
    }
    assert cat.paradigm_maps(**given).query.image_filter(record) is matches


@pytest.mark.parametrize(
    ("added", "matches"),
    [
        ("2024-12-31T23:00:00+00:00", False),
        ("2025-03-01T08:00:00.5+01:00", True),
        ("2026-01-01T12:00:00+01:00", True),
    ],
)
def test_recent_means_in_or_after_the_year(
    cat: Catalog, added: str, matches: bool
) -> None:
    record = {
        "add_date": added,
        "map_type": "T map",
        "is_thresholded": False,
        "not_mni": False,
    }
    assert cat.recent_maps(year=2025).query.image_filter(record) is matches


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("hypo1_unthresh", True),
        ("Hypothesis 1 - unthresholded", True),
        ("hypo01 un-thresh", True),
        ("hypo1_thresh", False),
        ("hypo11_unthresh", False),
        ("hypo2_unthresh", False),
    ],
)
def test_a_hypothesis_is_found_by_name(cat: Catalog, name: str, matches: bool) -> None:
    query = cat.narps_hypothesis(hypothesis=1).query
    assert query.image_filter({"name": name}) is matches


def test_all_teams_can_be_asked(cat: Catalog) -> None:
    teams = SPECS["neurovault"]["narps_team"]["parameters"]["team"]["allowed"]
    assert len(set(teams)) == 70
    assert [cat.narps_team(team=team).query.collection_ids for team in teams] == [
        (team,) for team in teams
    ]
    assert cat.narps_hypothesis.query.collection_ids == tuple(teams)


@pytest.mark.parametrize(
    ("entry", "given", "message"),
    [
        ("narps_team", {"team": 1952}, "team=1952 is not one of the allowed values"),
        ("narps_hypothesis", {"hypothesis": 0}, "hypothesis=0 is less than 1"),
        ("group_maps", {"min_subjects": 0}, "min_subjects=0 is less than 1"),
        ("recent_maps", {"year": 1999}, "year=1999 is less than 2010"),
    ],
)
def test_parameters_out_of_range_are_refused(
    cat: Catalog, entry: str, given: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        cat[entry](**given)


def test_a_misspelt_argument_is_refused(cat: Catalog) -> None:
    with pytest.raises(TypeError, match="max_image"):
        cat.group_maps(max_image=7)


def test_no_limit_is_none(cat: Catalog) -> None:
    assert cat.group_maps(max_images=None).query.max_images is None
    assert cat.brainpedia.query.max_images is None


@pytest.mark.parametrize(
    ("entry", "given", "expected"),
    [
        ("harvard_oxford", {}, ("mni152-2mm", "auto")),
        ("neurosynth_parcellation", {}, ("mni152-2mm", "nearest")),
        ("cit168", {}, ("mni152-1mm", "auto")),
        ("cit168", {"grid": "mni152-2mm"}, ("mni152-2mm", "auto")),
    ],
)
def test_atlases_say_how_they_are_read(
    cat: Catalog, entry: str, given: dict[str, str], expected: tuple[str, str]
) -> None:
    reader = cat[entry](**given).result.reader
    assert (reader.grid.name, reader.interpolation) == expected


def test_other_species_keep_their_grids(cat: Catalog) -> None:
    source = cat.other_species
    assert source.result.reader.grid is None
    assert source.query.image_filter({"subject_species": "mus musculus"})
    assert not source.query.image_filter({"subject_species": "homo sapiens"})
    assert not source.query.image_filter({"subject_species": None})


def test_a_private_collection_does_not_give_its_token_away(
    catalogs: dict[str, Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROVAULT_TOKEN", "ABCDEFGH")
    source = catalogs["tutorial"].my_private_collection
    (token,) = source.query.collection_ids
    assert token.reveal() == "ABCDEFGH"
    assert "ABCDEFGH" not in source.yaml() + repr(source)


def test_text_search_finds_entries(cat: Catalog) -> None:
    assert set(cat.search("narps")) == {"narps_team", "narps_hypothesis"}


def test_nothing_is_requested_before_the_table_is(
    cat: Catalog, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    here = {"url": fresh_server.url, "data_dir": str(data_dir)}
    sources = [cat[entry](**here) for entry in cat]
    assert list(fresh_server.requests) == []
    assert len(sources[list(cat).index("motor_task")].df) == 1
    assert list(fresh_server.requests) != []


@pytest.mark.parametrize(
    ("entry", "given", "column", "values"),
    [
        ("motor_task", {}, "collection_id", {658}),
        ("narps_team", {"collection_ids": [658]}, "collection_id", {658}),
        ("emotion_zmaps", {}, "map_type", {"Z map"}),
        ("group_maps", {}, "analysis_level", {"group"}),
        ("subject_maps", {}, "analysis_level", {"single-subject"}),
        ("roi_masks", {}, "map_type", {"ROI/mask"}),
        ("other_species", {}, "subject_species", {"mus musculus"}),
    ],
)
def test_entries_find_what_they_describe(
    cat: Catalog,
    server: NeuroVaultServer,
    data_dir: Path,
    entry: str,
    given: dict[str, Any],
    column: str,
    values: set[object],
) -> None:
    source = cat[entry](url=server.url, data_dir=str(data_dir), **given)
    assert set(source.df[column]) == values


def test_a_larger_sample_finds_fewer(
    cat: Catalog, server: NeuroVaultServer, data_dir: Path
) -> None:
    here = {"url": server.url, "data_dir": str(data_dir)}
    all_sizes = cat.group_maps(min_subjects=1, **here).df
    large = cat.group_maps(min_subjects=25, **here).df
    assert 0 < len(large) < len(all_sizes)
    assert large["number_of_subjects"].min() >= 25
