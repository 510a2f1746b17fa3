"""Ten questions that people ask, put in Python and on the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from intake_neurovault import search
from intake_neurovault.cli import main
from intake_neurovault.testing import NeuroVaultServer


@dataclass(frozen=True)
class Asked:
    """One question, in both ways."""

    arguments: dict[str, Any]
    """In Python."""
    typed: tuple[str, ...]
    """On the command line."""


QUESTIONS = {
    "map type": Asked(
        {"image_terms": {"map_type": ["Z map", "T map"]}},
        ("--where", "map_type=Z map,T map"),
    ),
    "paradigm": Asked(
        {"image_terms": {"cognitive_paradigm_cogatlas": {"$contains": "motor"}}},
        ("--where", "cognitive_paradigm_cogatlas*=motor"),
    ),
    "DOI": Asked(
        {"collection_terms": {"DOI": "10.5555/sample.3324"}},
        ("--collection-where", "DOI=10.5555/sample.3324"),
    ),
    "free text": Asked(
        {
            "image_terms": {
                "$or": [
                    {"name": {"$regex": r"(?i)\bfaces?\b"}},
                    {"description": {"$regex": r"(?i)\bfaces?\b"}},
                ]
            }
        },
        (
            "--where",
            r"{$or: [{name: {$regex: '(?i)\bfaces?\b'}}, "
            r"{description: {$regex: '(?i)\bfaces?\b'}}]}",
        ),
    ),
    "sample size": Asked(
        {"image_terms": {"number_of_subjects": {"$gte": 20, "$lt": 50}}},
        ("-w", "number_of_subjects >= 20", "-w", "number_of_subjects < 50"),
    ),
    "missing field": Asked(
        {"image_terms": {"number_of_subjects": None, "age": {"$null": True}}},
        ("-w", "!number_of_subjects", "-w", "!age", "--max-images", "100"),
    ),
    "custom field": Asked(
        {"image_terms": {"task": {"$in": ["button press", "reading"]}}},
        ("--where", "task=button press,reading"),
    ),
    "collection": Asked(
        {"collection_ids": [658, 1952], "image_terms": {"map_type": "Z map"}},
        ("--collection-ids", "658,1952", "--where", "map_type=Z map"),
    ),
    "owner left out": Asked(
        {
            "collection_terms": {"owner_name": {"$ne": "alice"}},
            "max_images": None,
        },
        ("--collection-where", "owner_name!=alice", "--max-images", "all"),
    ),
    "ids": Asked(
        {"image_ids": [48001, 10426, 32015]},
        ("--image-ids", "48001, 10426,32015"),
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[NeuroVaultServer]:
    """A server on which not everything is Alice's."""
    with NeuroVaultServer() as running:
        running.archive.collections[3324]["owner_name"] = "bob"
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store, so that the lists are asked for once."""
    return tmp_path_factory.mktemp("asked")


def test_there_are_ten() -> None:
    assert len(QUESTIONS) == 10


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_ways_give_the_same(
    server: NeuroVaultServer, folder: Path, name: str
) -> None:
    asked = QUESTIONS[name]
    expected = search(**asked.arguments, url=server.url, data_dir=folder)
    where = ("--url", server.url, "--data-dir", str(folder))
    runner = CliRunner()
    found = runner.invoke(main, ["search", *asked.typed, *where, "--json"])
    assert (found.exit_code, found.stderr) == (0, "")
    read = json.loads(found.stdout)
    assert read["query"] == expected.query.to_json()
    assert [each["id"] for each in read["images"]] == expected.keys()
    assert 0 < len(expected) < 89
    shown = runner.invoke(main, ["search", *asked.typed, *where])
    rows = csv.DictReader(shown.stdout.splitlines(), dialect="excel-tab")
    assert [int(row["id"]) for row in rows] == expected.keys()


def test_all_at_once_from_a_file(server: NeuroVaultServer, folder: Path) -> None:
    for name, asked in QUESTIONS.items():
        terms = {
            key: value
            for key, value in asked.arguments.items()
            if key.endswith("_terms")
        }
        if len(terms) < len(asked.arguments):
            continue
        file = folder / f"{name}.json"
        file.write_text(json.dumps(terms), encoding="utf-8")
        options = ("--terms", str(file), "--url", server.url)
        found = CliRunner().invoke(
            main, ["search", *options, "--data-dir", str(folder), "--json"]
        )
        expected = search(**asked.arguments, url=server.url, data_dir=folder)
        read = json.loads(found.stdout)
        assert [each["id"] for each in read["images"]] == expected.keys()
