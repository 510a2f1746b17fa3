"""The command line: help, versions, exit codes, and errors that are sentences."""

from __future__ import annotations

import errno
import subprocess
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from intake_neurovault import __version__
from intake_neurovault.cli import main
from intake_neurovault.errors import (
    ArgumentError,
    MissingError,
    NeuroVaultError,
    UnknownArgumentError,
)


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def failing(error: BaseException) -> click.Group:
    """Make a group of the same kind, with a command that fails."""

    @click.command("fail")
    def fail() -> None:
        raise error

    return type(main)(commands=[fail])


def test_the_package_installs_the_command() -> None:
    (script,) = entry_points(group="console_scripts", name="neurovault")
    assert script.load() is main


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--help"], 0, "Show the main job, without the internet."),
        (["-h"], 0, "Usage: neurovault [OPTIONS] COMMAND"),
        (["demo", "--help"], 0, "[default: neurovault_demo.png]"),
        (["--version"], 0, f"neurovault, version {__version__}"),
        ([], 2, "Usage: neurovault [OPTIONS] COMMAND"),
        (["dmeo"], 2, "No such command 'dmeo'"),
        (["demo", "--outptu", "x.png"], 2, "No such option"),
        (["demo", "--output", "."], 2, "is a directory"),
    ],
)
def test_the_installed_command(
    child_environment: dict[str, str],
    tmp_path: Path,
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "neurovault", *arguments],
        env=child_environment | {"PYTHONWARNINGS": "error", "COLUMNS": "80"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert text in (done.stderr if code else done.stdout)
    assert (done.stdout if code else done.stderr) == ""
    assert max(map(len, (done.stdout + done.stderr).splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NeuroVaultError("It went wrong."), "It went wrong."),
        (ArgumentError("grid=x is no grid."), "grid=x is no grid."),
        (UnknownArgumentError("no argument 'x'."), "no argument 'x'."),
        (MissingError("no image 3."), "no image 3."),
        (PermissionError(errno.EACCES, "Denied", "a.png"), "Denied: 'a.png'"),
    ],
)
def test_errors_are_one_sentence(
    runner: CliRunner, error: Exception, text: str
) -> None:
    result = runner.invoke(failing(error), ["fail"])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith(text)


def test_mistakes_of_the_program_keep_their_traceback(runner: CliRunner) -> None:
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        runner.invoke(
            failing(ZeroDivisionError("a mistake")), ["fail"], catch_exceptions=False
        )


def test_a_closed_pipe_is_no_error_to_speak_of(runner: CliRunner) -> None:
    error = BrokenPipeError(errno.EPIPE, "Broken pipe")
    result = runner.invoke(failing(error), ["fail"])
    assert (result.exit_code, result.output) == (1, "")


def test_a_picture_has_nowhere_to_go(runner: CliRunner, tmp_path: Path) -> None:
    result = runner.invoke(main, ["demo", "--output", "no/such.png"])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: The picture cannot be written to no")
    assert "there is no folder no; make it" in line
    assert list(tmp_path.iterdir()) == []
