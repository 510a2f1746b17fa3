"""`neurovault cache` as people and machines see it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import find, vault_of
from click.testing import CliRunner, Result
from trees import tree

from intake_neurovault.cli import main
from intake_neurovault.testing import NeuroVaultServer

Run = Callable[..., Result]
COMMANDS = ("info", "verify", "repair", "clear")


@pytest.fixture(scope="module")
def template(
    server: NeuroVaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with three images of one collection."""
    folder = tmp_path_factory.mktemp("filled")
    found = find(server, folder, collection_ids=[1952], max_images=3)
    vault_of(server, folder).fetch(found.images)
    return folder


@pytest.fixture
def root(template: Path, data_dir: Path) -> Path:
    """A copy of the filled store that a test may spoil."""
    shutil.copytree(template, data_dir, dirs_exist_ok=True)
    return data_dir / "neurovault"


@pytest.fixture
def run(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of `neurovault cache` on the store; nobody watches."""
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        result = CliRunner().invoke(
            main, ["cache", *arguments], input=answer, catch_exceptions=False
        )
        shown = result.output.replace(str(data_dir), "~/nilearn_data")
        too_long = [line for line in shown.splitlines() if len(line) > 80]
        if "--json" not in arguments:
            assert [line for line in too_long if not line.startswith("Error: ")] == []
        return result

    return invoke


def images(root: Path) -> list[Path]:
    return sorted(root.glob("collection_1952/image_*.nii.gz"))


def spoil(root: Path) -> Path:
    path = images(root)[0]
    path.write_bytes(path.read_bytes()[:1000])
    return path


# ---- help -------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_the_exit_codes(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"\n    neurovault cache {command}" in result.stdout
    assert "\n  Exit code" in result.stdout
    assert "--data-dir FOLDER" in result.stdout
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["clear"], "Say what to remove: --collection, --older-than"),
        (["clear", "--all", "--json"], "--json does not ask; pass --yes too"),
        (["info", "--collection", "0"], "0 is not in the range x>=1"),
        (["verify", "--workers", "99"], "99 is not in the range 1<=x<=16"),
        (["verify", "--offline"], "No such option"),
    ],
)
def test_what_is_not_understood(run: Run, arguments: list[str], text: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert text in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["clear", "--older-than", "soon"], "older_than='soon' is not an age"),
        (["repair", "--token", "env:NOBODY"], "NOBODY, which should hold the token"),
        (["repair", "--token", "secret"], "must be eight capitals"),
        (
            ["repair", "--url", "http://127.0.0.1:9", "--retries", "0"],
            "1 image waits to be fetched again, and the server",
        ),
    ],
)
def test_errors_are_a_sentence(
    run: Run, root: Path, arguments: list[str], text: str
) -> None:
    spoil(root)
    result = run(*arguments)
    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert text in line


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["info", "--collections"], ["verify"], ["repair"]],
)
def test_no_store_yet(run: Run, data_dir: Path, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "There is no store yet at",
        f"  {data_dir / 'neurovault'}",
        "It is made when the first map is fetched.",
    ]
    assert list(data_dir.iterdir()) == []
    assert json.loads(run(*arguments, "--json").stdout)


# ---- info -------------------------------------------------------------------------


def test_info(run: Run, root: Path, server: NeuroVaultServer) -> None:
    (root / "collection_1952" / "notes.txt").write_text("mine")
    os.utime(images(root)[0])
    result = run("info")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    total = sum(path.stat().st_size for path in images(root))
    assert lines[0] == str(root)
    assert lines[3].split() == f"images 3 {total / 1000:.1f} kB in 1 collection".split()
    assert lines[4].split() == ["verified", "2"]
    assert lines[5].split()[:4] == ["not", "yet", "verified", "1"]
    assert f"of {server.url.removeprefix('http://')}," in result.stdout
    assert "given less than a minute ago" in result.stdout
    assert lines[-1].endswith("not NeuroVault's, never touched")


def test_info_of_collections(run: Run, root: Path) -> None:
    [head, line] = run("info", "--collections").stdout.splitlines()
    assert head.split() == ["collection", "images", "verified", "size", "name"]
    assert line.split()[:3] == ["1952", "3", "3"]
    (root / "collection_1952" / "collection_metadata.json").unlink()
    assert "(its record is missing)" in run("info", "--collections").stdout


def test_info_of_one_collection(run: Run, root: Path) -> None:
    assert "in 1 collection" in run("info", "--collection", "1952").stdout
    result = run("info", "--collection", "77")
    assert result.exit_code == 0
    assert "Collection 77 is not in the store" in result.stdout


def test_info_for_machines(run: Run, root: Path) -> None:
    read = json.loads(run("info", "--json").stdout)
    assert read["root"] == str(root)
    assert read["images"]["files"] == read["verified"] == 3
    assert [each["collection_id"] for each in read["collections"]] == [1952]


# ---- verify and repair ------------------------------------------------------------


def test_a_whole_store(run: Run, root: Path, server: NeuroVaultServer) -> None:
    for arguments in (["verify"], ["repair", "--url", server.url]):
        result = run(*arguments)
        assert result.exit_code == 0
        assert result.stderr == ""
        assert "Every file is whole." in result.stdout


def test_damage_is_named_and_mended(
    run: Run, root: Path, server: NeuroVaultServer
) -> None:
    before = images(root)[0].read_bytes()
    path = spoil(root)
    looked = run("verify", "--dry-run")
    assert looked.exit_code == 1
    assert path.exists()
    found = run("verify")
    assert found.exit_code == 1
    assert f"\ndamaged: collection_1952/{path.name}\n  The file is " in found.stdout
    assert "It was moved to the quarantine." in " ".join(found.stdout.split())
    assert "\n1 file is not as it should be.\n" in found.stdout
    assert found.stdout.endswith('To fetch what is lost: "neurovault cache repair".\n')
    assert not path.exists()
    mended = run("repair", "--url", server.url)
    assert mended.exit_code == 0
    assert mended.stdout.endswith("Fetched again: 1 image.\nThe store is whole now.\n")
    assert path.read_bytes() == before
    assert run("verify").exit_code == 0


def test_what_cannot_be_had_is_listed(
    run: Run, root: Path, fresh_server: NeuroVaultServer
) -> None:
    path = spoil(root)
    number = path.name.partition(".")[0].removeprefix("image_")
    fresh_server.archive.images.clear()
    result = run("repair", "--url", fresh_server.url)
    assert result.exit_code == 1
    assert f"not had: image {number}\n  There is no public image" in result.stdout
    assert "1 thing could not be had; run it again later" in result.stdout


def test_verify_and_repair_for_machines(
    run: Run, root: Path, server: NeuroVaultServer
) -> None:
    path = spoil(root)
    found = run("verify", "--json")
    read = json.loads(found.stdout)
    assert (found.exit_code, read["whole"], read["images"]) == (1, False, 3)
    [finding] = read["findings"]
    assert finding["path"] == path.relative_to(root).as_posix()
    assert (root / finding["moved_to"]).stat().st_size == 1000
    done = run("repair", "--json", "--url", server.url)
    read = json.loads(done.stdout)
    assert (done.exit_code, read["whole"], read["failures"]) == (0, True, [])
    assert read["mended"] == [finding["image_id"]]


def test_a_store_that_cannot_be_written(run: Run, root: Path) -> None:
    shutil.rmtree(root / ".intake_neurovault")
    (root / ".intake_neurovault").touch()
    result = run("verify")
    assert result.exit_code == 0
    assert "The store cannot be written (File exists): nothing was" in result.stdout


def test_an_empty_store(run: Run, data_dir: Path) -> None:
    (data_dir / "neurovault").mkdir()
    assert "There is nothing to verify." in run("verify").stdout
    assert "in 0 collections" in run("info").stdout


# ---- clear ------------------------------------------------------------------------


def test_clear_shows_and_asks(run: Run, root: Path) -> None:
    before = tree(root)
    for arguments, answer in (
        (["--dry-run"], None),
        ([], "n\n"),
        ([], None),
    ):
        result = run("clear", "--collection", "1952", *arguments, answer=answer)
        assert result.exit_code == (0 if arguments else 1)
        assert "\n  images                    3" in result.stdout
        assert "\n  together" in result.stdout
        assert tree(root) == before
    result = run("clear", "--collection", "1952", answer="y\n")
    assert result.exit_code == 0
    assert "Remove them? [y/N]: y\nRemoved 11 files (" in result.stdout
    assert not (root / "collection_1952").exists()


def test_clear_without_asking(run: Run, root: Path) -> None:
    (root / "collection_1952" / "notes.txt").write_text("mine")
    result = run("clear", "--all", "--yes")
    assert result.exit_code == 0
    files = [path.name for path in root.rglob("*") if path.is_file()]
    assert files == ["notes.txt"]
    assert run("clear", "--all", "--yes").stdout == "There is nothing to remove.\n"


def test_clear_leaves_links_and_says_so(run: Run, root: Path, tmp_path: Path) -> None:
    (root / "collection_1952").rename(tmp_path / "elsewhere")
    (root / "collection_1952").symlink_to(tmp_path / "elsewhere")
    result = run("clear", "--all", "--yes")
    assert result.exit_code == 1
    assert "Stays: collection_1952. It is, or lies behind, a" in result.stdout
    assert result.stdout.count("Stays: ") == 1
    assert len(list((tmp_path / "elsewhere").iterdir())) == 7


@pytest.mark.parametrize("option", ["--derived", "--listings", "--quarantine"])
def test_clear_kinds(run: Run, root: Path, option: str) -> None:
    before = {name: data for name, data in tree(root).items() if "listings" not in name}
    assert run("clear", option, "--yes").exit_code == 0
    left = tree(root)
    assert before.items() <= left.items()
    assert any("listings" in name for name in left) == (option != "--listings")


def test_clear_for_machines(run: Run, root: Path) -> None:
    planned = json.loads(run("clear", "--all", "--dry-run", "--json").stdout)
    assert planned["dry_run"] is True
    assert len(planned["files"]) == sum(path.is_file() for path in root.rglob("*"))
    done = json.loads(run("clear", "--all", "--yes", "--json").stdout)
    assert done == {
        "dry_run": False,
        "removed": len(planned["files"]),
        "freed": planned["bytes"],
        "left": [],
    }


# ---- the real thing ---------------------------------------------------------------


def test_a_real_process(
    child_environment: dict[str, str], root: Path, data_dir: Path
) -> None:
    path = spoil(root)
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            "from intake_neurovault.cli import main; main()",
            *("cache", "verify", "--data-dir", str(data_dir)),
        ],
        env=child_environment | {"COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert f"damaged: collection_1952/{path.name}" in done.stdout
    assert not path.exists()
