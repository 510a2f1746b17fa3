"""The same ten questions through every door: the same images, in the same order.

A door takes the arguments of a search and a folder to write in, and gives the ids that
it finds. Whoever makes a door adds it to `DOORS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import intake
import pytest
from click.testing import CliRunner

import intake_neurovault
from intake_neurovault.cli import main
from intake_neurovault.readers import NeuroVaultSearch
from intake_neurovault.testing import Archive, NeuroVaultServer

Arguments = Mapping[str, Any]
Record = Mapping[str, Any]

PUBLISHED = "10.5555/sample.3324"
EMOTION = "emotion processing fMRI task paradigm"


@dataclass(frozen=True)
class Question:
    """What is asked, and what it means, said once more by plain Python."""

    arguments: Arguments
    """The arguments of a search."""
    meant: Callable[[Record, Record], Any]
    """Whether an image, with its collection, is one of those: raw records."""
    order: tuple[int, ...] = ()
    """The ids, where their order was given; by collection and number otherwise."""


def answers(question: Question, archive: Archive) -> list[int]:
    """Give the ids that a question is about."""
    found = [
        (image["collection_id"], number)
        for number, image in archive.images.items()
        if image["collection_id"] not in archive.tokens
        and question.meant(image, archive.collections[image["collection_id"]])
    ]
    ids = [number for _, number in sorted(found)]
    return [number for number in question.order if number in ids] or ids


QUESTIONS = {
    "by map type": Question(
        {"image_terms": {"map_type": ["variance", "parcellation"]}},
        lambda image, _: image.get("map_type") in ("variance", "parcellation"),
    ),
    "by paradigm": Question(
        {"image_terms": {"cognitive_paradigm_cogatlas": EMOTION}},
        lambda image, _: image.get("cognitive_paradigm_cogatlas") == EMOTION,
    ),
    "by DOI": Question(
        {"collection_terms": {"DOI": PUBLISHED}, "image_terms": {}},
        lambda _, home: home.get("DOI") == PUBLISHED,
    ),
    "by free text": Question(
        {"image_terms": {"name": {"$regex": r"(?i)\bFACES?\b|mental {1,2}calc"}}},
        lambda image, _: re.search(
            r"\bfaces?\b|mental {1,2}calc", image.get("name") or "", re.IGNORECASE
        ),
    ),
    "by sample size": Question(
        {"image_terms": {"number_of_subjects": {"$gte": 20, "$lt": 60}}},
        lambda image, _: 20 <= (image.get("number_of_subjects") or 0) < 60,
    ),
    "by a field that is missing": Question(
        {"image_terms": {"is_thresholded": None}},
        lambda image, _: image.get("is_thresholded") is None,
    ),
    "by a custom field": Question(
        {"image_terms": {"study": "objects_sample", "subject": {"$ne": "sub-02"}}},
        lambda image, _: (
            image.get("study") == "objects_sample" and image["subject"] != "sub-02"
        ),
    ),
    "by collection": Question(
        {"collection_ids": [1952, 658]},
        lambda image, _: image["collection_id"] in (1952, 658),
        order=(
            *(32015, 32016, *range(32020, 32029), 32980),
            *(*range(10410, 10427), *range(10430, 10434)),
        ),
    ),
    "with an owner left out": Question(
        {
            "collection_terms": {"owner_name": {"$ne": "alice"}},
            "image_terms": {"$not": {"map_type": "T map"}},
            "max_images": None,
        },
        lambda image, home: (
            home["owner_name"] != "alice" and image.get("map_type") != "T map"
        ),
    ),
    "by ids": Question(
        {"image_ids": [48002, 10426, 1401]},
        lambda image, _: image["id"] in (48002, 10426, 1401),
        order=(48002, 10426, 1401),
    ),
}


# ---- doors ------------------------------------------------------------------------


def through_python(arguments: Arguments, _: Path) -> list[int]:
    """Ask in Python."""
    return intake_neurovault.search(**arguments).keys()


def through_first_version(arguments: Arguments, folder: Path) -> list[int]:
    """Write it down as a short catalog, and ask that."""
    file = folder / "one" / "maps.yaml"
    file.parent.mkdir()
    intake_neurovault.search(**arguments).to_intake(file)
    return intake.open_catalog(str(file)).maps.keys()


def through_second_version(arguments: Arguments, folder: Path) -> list[int]:
    """Write it down as a catalog of readers, and ask that without any import."""
    file = folder / "two" / "maps.yaml"
    file.parent.mkdir()
    intake_neurovault.search(**arguments).to_intake(file, version=2)
    with intake.conf.set(allow_import=False):
        table = intake.open_catalog(str(file))["maps"].to_reader("pandas").read()
    return table["id"].tolist()


def through_a_reader(arguments: Arguments, _: Path) -> list[int]:
    """Ask a reader."""
    return NeuroVaultSearch(**arguments).read().keys()


def quoted(value: object) -> str:
    """A value as it is typed: text in quotes, which are doubled within."""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return json.dumps(value)


SIGNS = {"$gte": ">=", "$gt": ">", "$lte": "<=", "$lt": "<", "$ne": "!=", "$regex": "~"}


def typed(terms: Record) -> Iterator[str]:
    """Terms as they are typed; what has no sign is written as a mapping."""
    if not terms:
        yield "{}"
    for name, wanted in terms.items():
        if name.startswith("$"):
            yield json.dumps({name: wanted})
        elif wanted is None:
            yield f"!{name}"
        elif isinstance(wanted, dict):
            for operator, value in wanted.items():
                bare = operator == "$regex"
                yield f"{name}{SIGNS[operator]}{value if bare else quoted(value)}"
        else:
            some = wanted if isinstance(wanted, list) else [wanted]
            yield f"{name}={','.join(map(quoted, some))}"


def on_the_command_line(*arguments: str) -> list[int]:
    """Run the command, and read what it gives to machines and to other programs."""
    runner = CliRunner()
    found = runner.invoke(main, ["search", *arguments, "--json"])
    assert (found.exit_code, found.stderr) == (0, "")
    ids = [each["id"] for each in json.loads(found.stdout)["images"]]
    shown = runner.invoke(
        main, ["search", *arguments, "--columns", "id", "--no-header"]
    )
    assert shown.stdout.split() == [str(number) for number in ids]
    return ids


def options(arguments: Arguments) -> Iterator[str]:
    """All arguments but the terms, as they are typed."""
    for name, value in arguments.items():
        if not name.endswith("_terms"):
            some = value if isinstance(value, list) else [value or "all"]
            yield f"--{name.replace('_', '-')}={','.join(map(str, some))}"


def through_conditions(arguments: Arguments, _: Path) -> list[int]:
    """Type it."""
    given = {"where": "image_terms", "collection-where": "collection_terms"}
    conditions = [
        f"--{option}={condition}"
        for option, name in given.items()
        if name in arguments
        for condition in typed(arguments[name])
    ]
    return on_the_command_line(*conditions, *options(arguments))


def through_a_file_of_terms(arguments: Arguments, folder: Path) -> list[int]:
    """Write the terms into a file, and type the rest."""
    terms = {n: value for n, value in arguments.items() if n.endswith("_terms")}
    file = folder / "terms.json"
    file.write_text(json.dumps(terms), encoding="utf-8")
    return on_the_command_line(f"--terms={file}", *options(arguments))


def through_an_entry(arguments: Arguments, folder: Path) -> list[int]:
    """Write it down as a catalog of readers, and name that on the command line."""
    file = folder / "maps.yaml"
    intake_neurovault.search(**arguments).to_intake(file, version=2)
    return on_the_command_line(f"{file}:maps")


DOORS: Mapping[str, Callable[[Arguments, Path], list[int]]] = {
    "Python": through_python,
    "YAML of version 1": through_first_version,
    "YAML of version 2": through_second_version,
    "a reader": through_a_reader,
    "the command line": through_conditions,
    "a file of terms": through_a_file_of_terms,
    "an entry on the command line": through_an_entry,
}


@pytest.fixture(scope="module")
def server() -> Iterator[NeuroVaultServer]:
    """Serve the sample archive, with collections of more than one owner."""
    with NeuroVaultServer() as running:
        running.archive.edit_collection(1952, owner_name="bob")
        running.archive.edit_collection(3324, owner_name=None)
        yield running


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all doors, so that the server is asked once."""
    return tmp_path_factory.mktemp("nilearn_data")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_door_gives_the_same_answer(
    name: str, door: str, server: NeuroVaultServer, store: Path, tmp_path: Path
) -> None:
    question = QUESTIONS[name]
    here = {"url": server.url, "data_dir": str(store)}
    expected = answers(question, server.archive)
    assert expected
    assert DOORS[door]({**question.arguments, **here}, tmp_path) == expected


def test_there_are_ten_questions() -> None:
    assert len(QUESTIONS) == 10
