"""`neurovault freeze`, and what is frozen as an entry of the other commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import intake
import pytest
from click.testing import CliRunner, Result
from terminals import in_terminal

from intake_neurovault import GRIDS
from intake_neurovault.cli import main
from intake_neurovault.cli_types import GRIDS as NAMED
from intake_neurovault.grid import parse_grid
from intake_neurovault.testing import Fault, NeuroVaultServer

Run = Callable[..., Result]


@pytest.fixture
def run(
    server: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run a command in an empty folder, where nobody looks."""
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", server.url)
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    return invoke


def ids_in(result: Result) -> list[int]:
    return [each["id"] for each in json.loads(result.stdout)["images"]]


def test_what_is_frozen_is_an_entry(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("freeze", "hands.yaml", "-w", "id=10410,10426")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "hands.yaml\n", "")
    assert sorted(path.name for path in Path.cwd().iterdir()) == [
        *("hands.lock.json", "hands.yaml")
    ]
    source = intake.open_catalog("hands.yaml").hands
    assert source.keys() == [10410, 10426]
    shutil.rmtree(data_dir)
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", "http://127.0.0.1:9")
    assert ids_in(run("search", "hands.yaml", "--json")) == [10410, 10426]
    assert ids_in(run("search", "hands.yaml:hands", "--json")) == [10410, 10426]


def test_files_of_what_is_frozen(run: Run, data_dir: Path) -> None:
    assert run("freeze", "hands.yaml", "--image-ids", "10426").exit_code == 0
    shutil.rmtree(data_dir)
    result = run("fetch", "hands.yaml")
    assert result.exit_code == 0
    head, row = result.stdout.splitlines()
    assert head == "id\tpath"
    assert Path(row.split("\t")[1]).is_file()


def test_a_choice_among_what_is_frozen(run: Run) -> None:
    assert run("freeze", "all.yaml", "--collection-ids", "658").exit_code == 0
    chosen = run("search", "all.yaml", "-w", "number_of_subjects<=16", "--json")
    assert ids_in(chosen) == [10410, 10411]
    again = run("freeze", "few.yaml", "all.yaml", "-w", "number_of_subjects<=16")
    assert again.exit_code == 0
    assert intake.open_catalog("few.yaml").few.keys() == [10410, 10411]


def test_how_maps_are_read_is_kept(run: Run) -> None:
    arguments = ("--grid", "mni152-2mm", "--interpolation", "nearest", "--name", "mine")
    result = run("freeze", "x.yaml", "--image-ids", "10426", *arguments)
    assert result.exit_code == 0
    dataset = intake.open_catalog("x.yaml").mine.to_dask()
    assert dataset.maps.shape == (1, *GRIDS["mni152-2mm"].shape)
    assert dataset.maps.attrs["interpolation"] == "nearest"


def test_what_cannot_be_had_is_left_out(
    run: Run, fresh_server: NeuroVaultServer
) -> None:
    fresh_server.faults.append(Fault("/media/images/658/image_10410", "500"))
    result = run(
        *("freeze", "x.yaml", "--image-ids", "10410,10426", "--json"),
        *("--url", fresh_server.url, "--retries", "0"),
    )
    read = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (read["catalog"], read["lock"]) == ("x.yaml", "x.lock.json")
    assert read["image_ids"] == [10426]
    assert [each["id"] for each in read["failures"]] == [10410]
    assert "  image 10410 (collection 658)" in result.stderr
    assert intake.open_catalog("x.yaml").x.keys() == [10426]


def test_what_is_there_is_not_replaced_unasked(run: Run) -> None:
    arguments = ("freeze", "x.yaml", "--image-ids", "10426")
    assert run(*arguments).exit_code == 0
    before = Path("x.yaml").read_bytes()
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert "x.yaml exists already; pass --overwrite to" in " ".join(
        refused.stderr.split()
    )
    assert Path("x.yaml").read_bytes() == before
    assert run(*arguments, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x.txt"], 2, "must name a catalog, such as 'maps.yaml'"),
        (["x.yaml", "--name", "a b"], 2, "cannot be the name of an entry"),
        (["x.yaml", "--grid", "mni152-9mm"], 2, "--grid"),
        (["x.yaml", "-w", "map_type=X map"], 1, "There is nothing to freeze."),
    ],
)
def test_what_cannot_be_frozen(
    run: Run, arguments: list[str], code: int, message: str
) -> None:
    result = run("freeze", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert list(Path.cwd().iterdir()) == []


def test_the_named_grids_are_those_that_there_are() -> None:
    assert (*GRIDS, "native") == NAMED
    assert parse_grid("native") is None


def test_freeze_on_a_terminal(
    child_environment: dict[str, str],
    server: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    env = {
        **child_environment,
        "INTAKE_NEUROVAULT_URL": server.url,
        "NILEARN_DATA": str(data_dir),
    }
    file = tmp_path / "x.yaml"
    shown = in_terminal(80, "freeze", str(file), "--image-ids", "10426", env=env)
    assert shown.code == 0
    assert str(file) in shown.lines
    assert str(tmp_path / "x.lock.json") in shown.lines
    assert "Frozen: 1 image in 1 collection." in shown.lines
