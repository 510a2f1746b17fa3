"""`neurovault search`, `show` and `fetch` as people and machines see them."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from asking import SECRET
from click.testing import CliRunner, Result
from terminals import Shown, command, in_terminal

from intake_neurovault import search
from intake_neurovault.cli import main
from intake_neurovault.cli_output import as_options
from intake_neurovault.lettering import width
from intake_neurovault.testing import Fault, NeuroVaultServer

Run = Callable[..., Result]
COMMANDS = ("demo", "search", "show", "fetch", "freeze", "completion")


@pytest.fixture
def run(
    server: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a command where nobody looks."""
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", server.url)
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=text, catch_exceptions=False)

    return invoke


@pytest.fixture
def environment(
    child_environment: dict[str, str], server: NeuroVaultServer, data_dir: Path
) -> dict[str, str]:
    """What a child process needs to find server and store."""
    own = {"INTAKE_NEUROVAULT_URL": server.url, "NILEARN_DATA": str(data_dir)}
    return child_environment | own


def read_json(result: Result) -> Any:
    def refuse(word: str) -> object:
        raise AssertionError(word)

    return json.loads(result.stdout, parse_constant=refuse)


def table(text: str) -> list[dict[str, str]]:
    lines = text.splitlines()
    return list(csv.DictReader(lines, dialect="excel-tab", quoting=csv.QUOTE_NONE))


def error_of(result: Result) -> str:
    return result.stderr.splitlines()[-1]


# ---- help -------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_a_sentence_and_fits(run: Run, name: str) -> None:
    result = run(name, "--help")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"  [A-Z][^.]*\.", lines[2])
    if name != "demo":
        assert "  Example" in result.stdout
        assert f"    neurovault {name}" in result.stdout.replace('"$(', " " * 4)
        assert "Exit code" in result.stdout


def test_help_shows_the_way_in(run: Run) -> None:
    text = run("--help").stdout
    places = [text.index(f"neurovault {name}") for name in COMMANDS[:5]]
    assert places == sorted(places)
    assert "..." not in text.partition("Commands:")[2]


# ---- search -----------------------------------------------------------------------


def test_another_program_gets_the_whole_table(run: Run) -> None:
    result = run("search", "-w", "map_type=Z map", "-w", "number_of_subjects>=60")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = table(result.stdout)
    assert [row["id"] for row in rows] == [
        *("10423", "10424", "10430", "10431", "10432", "10433")
    ]
    assert rows[0]["collection_name"] == (
        "Functional localizer: pressing buttons, reading, listening and calculating"
    )
    assert "\x1b" not in result.stdout


def test_columns(run: Run) -> None:
    columns = "id,age,is_thresholded,collection.DOI,collection_name"
    ids = ["--image-ids", "48001,10426"]
    rows = table(run("search", *ids, "--columns", columns).stdout)
    assert [tuple(row.values()) for row in rows] == [
        (
            *("48001", "25.5", "false", "10.5555/sample.3324"),
            "Émotion: faces and scenes in four laboratories",
        ),
        (
            *("10426", "", "false", "10.5555/sample.658"),
            "Functional localizer: pressing buttons, reading, listening and "
            "calculating",
        ),
    ]
    bare = run("search", *ids, "--columns", "id", "--no-header")
    assert bare.stdout == "48001\n10426\n"


def test_custom_fields_are_columns_too(run: Run) -> None:
    found = ("search", "--image-ids", "32015", "--columns")
    (row,) = table(run(*found, "id,task").stdout)
    assert row["task"] == "button press"
    wrong = run(*found, "id,tsk")
    assert wrong.exit_code == 2
    assert "no image here has a field 'tsk'; did you mean 'task'?" in wrong.stderr


def test_machines_get_everything(
    run: Run, server: NeuroVaultServer, data_dir: Path
) -> None:
    result = run("search", "--collection-ids", "1952,658", "--json")
    read = read_json(result)
    expected = search(collection_ids=[1952, 658], url=server.url, data_dir=data_dir)
    assert [each["id"] for each in read["images"]] == expected.keys()
    for each, image in zip(read["images"], expected, strict=True):
        known = {n: v for n, v in image.metadata.items() if v is not None}
        assert known.items() <= each.items() | {("data", None)} or known == {
            name: each.get(name) for name in known
        }
    assert read["query"] == expected.query.to_json()
    assert (read["truncated"], read["failures"]) == (False, [])
    few = read_json(run("search", "--image-ids", "10426", "--json", "--columns", "id"))
    assert few["images"] == [{"id": 10426}]


def test_numbers_that_json_lacks(
    fresh_server: NeuroVaultServer, data_dir: Path, run: Run
) -> None:
    image = fresh_server.archive.images[10426]
    image["weights"] = [1, float("nan")]
    image["odd"] = float("inf")
    arguments = ("search", "--image-ids", "10426", "--url", fresh_server.url)
    (read,) = read_json(run(*arguments, "--json"))["images"]
    assert read["weights"] in ([1, None], "[1, NaN]")
    assert "NaN" not in run(*arguments, "--json").stdout.replace('"[1, NaN]"', "")


def test_nothing_matched(run: Run) -> None:
    result = run("search", "-w", "map_type=X map")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("No image matched: the term 'map_type is \"X map")
    assert "try --explain" in result.stderr
    found = run("search", "-w", "map_type=X map", "--json")
    assert (found.exit_code, read_json(found)["images"]) == (1, [])


def test_explain(run: Run) -> None:
    rows = table(run("search", "-w", "age", "--explain").stdout)
    assert [row["term"] for row in rows][-1] == "age is not null"
    assert all(int(row["alone"]) >= int(row["removed"]) for row in rows)


def test_explain_for_machines(run: Run) -> None:
    steps = read_json(run("search", "-w", "age", "--explain", "--json"))["steps"]
    assert steps[-1]["term"] == "age is not null"
    assert steps[-1]["alone"] == 81


def test_the_cap_is_told(run: Run) -> None:
    result = run("search", "-w", "{}", "--max-images", "3")
    assert len(table(result.stdout)) == 3
    everything = run("search", "-w", "{}", "--max-images", "all")
    assert len(table(everything.stdout)) == 89


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-w", "map_type="], "a value is missing after '='"),
        (["-w", "age>=old"], "'old' is not a number"),
        (["-w", "{$xyz: 3}"], r"unknown operator '$xyz'"),
        (["--image-ids", "1,,2"], "lacks a word beside a comma"),
        (["--image-ids", "x"], "'x' is not an id"),
        (["--collection-ids", "env:NOBODY"], "NOBODY, which should hold the token"),
        (["--max-images", "many"], "'many' is not a valid integer range"),
        (["--mode", "onlin"], "'onlin' is not one of 'download_new', 'overwrite'"),
        (["--metadata-ttl", "soon"], "--metadata-ttl soon"),
        (["--url", "ftp://x"], "--url ftp://x"),
        (["--workers", "99"], "99 is not in the range 1<=x<=16"),
        (["--terms", "no/such.yaml"], "No such file"),
        (["no_such_entry"], "The catalog of this package has no entry"),
        (["motor_tsk"], "did you mean 'motor_task'?"),
        (["no/such.yaml:entry"], "There is no catalog no/such.yaml"),
        (["--wher", "age"], "No such option"),
    ],
)
def test_what_is_not_understood(run: Run, arguments: list[str], message: str) -> None:
    result = run("search", *arguments)
    assert result.exit_code == (1 if "env:NOBODY" in arguments else 2)
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_misspelt_field_is_one_line(run: Run) -> None:
    result = run("search", "-w", "map_typ=Z map")
    first = result.stderr.splitlines()[0]
    assert first.startswith("Warning: image_terms: no record has a field 'map_typ'")


def test_no_server(run: Run) -> None:
    result = run("search", "--url", "http://127.0.0.1:9", "--retries", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("1 thing could not be had:\n  a list\n    ")
    raised = run(
        *("search", "--url", "http://127.0.0.1:9", "--retries", "0"),
        *("--errors", "raise"),
    )
    assert raised.exit_code == 1
    assert raised.stderr.startswith("Error: ")
    assert len(raised.stderr.splitlines()) == 1


def test_messages_name_options(run: Run) -> None:
    result = run("search", "--image-ids", "10426", "--mode", "offline")
    assert result.exit_code == 1
    assert "without --mode offline" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("pass another data_dir=.", "pass another --data-dir."),
        ("max_images=None gives all", "--max-images all gives all"),
        ("workers=99 must be", "--workers 99 must be"),
        ("collection_ids=['env:NAME'], or", "--collection-ids env:NAME, or"),
        ("pass overwrite=True to", "pass --overwrite to"),
        ("grid=x is no grid.", "grid=x is no grid."),
        ("http://a.org/?url=x", "http://a.org/?url=x"),
        ("two\nlines \x1b[2J", "two\\nlines \\x1b[2J"),
    ],
)
def test_arguments_in_messages_become_options(message: str, shown: str) -> None:
    assert as_options(message) == shown


def test_a_private_collection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    listed = run("search", "--collection-ids", "env:MY_TOKEN", "--json")
    shown = run("show", "90011", "--token", "env:MY_TOKEN")
    fetched = run("fetch", "--collection-ids", "env:MY_TOKEN")
    assert [each["id"] for each in read_json(listed)["images"]] == [90011, 90012]
    assert "private     shown only to those who know" in shown.stdout
    assert len(table(fetched.stdout)) == 2
    absent = run("show", "90019", "--token", "env:MY_TOKEN")
    assert "The collection of env:MY_TOKEN has no image 90019." in absent.stderr
    for result in (listed, shown, fetched, absent):
        assert SECRET not in result.output
        assert result.exit_code == (1 if result is absent else 0)


# ---- where conditions come from ---------------------------------------------------


def test_terms_from_a_file_and_from_a_pipe(run: Run, tmp_path: Path) -> None:
    terms = {
        "image_terms": {"map_type": "Z map"},
        "collection_terms": {"DOI": "10.5555/sample.3324"},
    }
    expected = run(
        *("search", "-w", "map_type=Z map", "-w", "age>26"),
        *("--collection-where", "DOI=10.5555/sample.3324", "--json"),
    )
    for name, text in (
        ("x.yaml", yaml.safe_dump(terms)),
        ("x.json", json.dumps(terms)),
    ):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        from_file = run("search", "--terms", str(file), "-w", "age>26", "--json")
        piped = run("search", "--terms", "-", "-w", "age>26", "--json", text=text)
        assert read_json(from_file) == read_json(piped) == read_json(expected)
    assert [each["id"] for each in read_json(expected)["images"]] == [
        *(48002, 48003, 48005, 48006, 48007)
    ]


def test_files_that_hold_no_terms(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xff\xfe\xfa")
    result = run("search", "--terms", str(file))
    assert result.exit_code == 2
    assert f"{file} is not text in UTF-8." in " ".join(result.stderr.split())
    piped = run("search", "--terms", "-", text="map_type: Z map")
    assert "has 'map_type' at its top, where image_terms" in piped.stderr


def test_an_entry_of_a_catalog(run: Run, tmp_path: Path) -> None:
    (row,) = table(run("search", "motor_task").stdout)
    assert row["id"] == "10426"
    entry = {
        "driver": "neurovault",
        "args": {"collection_ids": [658], "image_terms": {"map_type": "Z map"}},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"sources": {"hands": entry}}), encoding="utf-8")
    found = ("search", f"{file}:hands", "--columns", "id", "--no-header")
    everything = run(*found).stdout.split()
    narrowed = run(*found, "-w", "number_of_subjects>60", "--max-images", "2")
    assert len(everything) == 14
    assert narrowed.stdout.split() == ["10423", "10424"]
    assert set(narrowed.stdout.split()) < set(everything)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: {x: {driver: csv, args: {urlpath: a.csv}}}", "is no query on"),
        ("sources: {x: {driver: neurovault, args: {max_image: 3}}}", "max_images"),
        ("sources: {x: {driver: no_such_driver, args: {}}}", "cannot be read"),
        ("sources: [", "cannot be read"),
        ("sources: {x: 3}", "cannot be read"),
        ("sources: {a: {driver: csv}, b: {driver: csv}}", "it has a, b."),
    ],
)
def test_catalogs_that_are_not_understood(
    run: Run, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    result = run("search", str(file))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert len(error_of(result).splitlines()) == 1


def test_an_entry_without_terms_keeps_its_defaults(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    entry = {"driver": "neurovault", "args": {"max_images": 50}}
    file.write_text(yaml.safe_dump({"sources": {"maps": entry}}), encoding="utf-8")
    narrowed = run("search", f"{file}:maps", "-w", "collection_id=3324", "--json")
    read = read_json(narrowed)
    assert 48020 not in [each["id"] for each in read["images"]]
    assert 48000 in [each["id"] for each in read["images"]]


# ---- show -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["10426", "image_10426", "https://neurovault.org/images/10426/"]
)
def test_show(run: Run, server: NeuroVaultServer, data_dir: Path, name: str) -> None:
    result = run("show", name)
    found = search(image_ids=[10426], url=server.url, data_dir=data_dir)[10426]
    assert (result.exit_code, result.stdout) == (0, f"{found.text()}\n")


def test_show_for_machines(run: Run) -> None:
    result = run("show", "10426", "32015", "10426", "--json")
    read = read_json(result)
    assert [each["id"] for each in read["images"]] == [10426, 32015]
    assert read["images"][1]["custom"]["task"] == "button press"
    assert read["failures"] == []


def test_show_what_there_is_and_say_what_is_missing(run: Run) -> None:
    result = run("show", "77", "10426")
    assert result.exit_code == 1
    assert result.stdout.startswith("Image 10426: left vs right button press\n")
    assert "  image 77\n    There is no public image 77" in result.stderr


@pytest.mark.parametrize("name", ["x", "0", "1.5", "https://neurovault.org/images/"])
def test_show_takes_images(run: Run, name: str) -> None:
    result = run("show", name)
    assert result.exit_code == 2
    assert "is no image: give its number." in result.stderr


# ---- fetch ------------------------------------------------------------------------


def test_fetch_tells_where_files_are(run: Run, data_dir: Path) -> None:
    result = run("fetch", "-w", "id=10426,10410")
    rows = table(result.stdout)
    assert result.exit_code == 0
    assert [row["id"] for row in rows] == ["10410", "10426"]
    folder = data_dir / "neurovault" / "collection_658"
    assert [Path(row["path"]) for row in rows] == [
        folder / "image_10410.nii.gz",
        folder / "image_10426.nii.gz",
    ]
    assert all(Path(row["path"]).is_file() for row in rows)


def test_fetch_says_what_failed(
    run: Run, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault("/media/images/658/image_10410", "500"))
    arguments = (
        *("--url", fresh_server.url, "--retries", "0"),
        *("--image-ids", "10410,10426,77"),
    )
    result = run("fetch", *arguments)
    assert result.exit_code == 1
    assert [row["id"] for row in table(result.stdout)] == ["10426"]
    assert result.stderr.startswith("2 things could not be had:\n")
    assert "\n  image 10410 (collection 658)\n    " in result.stderr
    assert "\n  image 77\n    " in result.stderr
    read = read_json(run("fetch", *arguments, "--json"))
    assert [each["id"] for each in read["files"]] == [10426]
    assert {each["id"] for each in read["failures"]} == {10410, 77}
    assert all(each["reason"] for each in read["failures"])


def test_many_failures_do_not_fill_the_screen(run: Run) -> None:
    wanted = ",".join(str(number) for number in range(101, 126))
    result = run("search", "--image-ids", wanted)
    assert result.exit_code == 1
    assert result.stderr.startswith("25 things could not be had:\n  image 101\n")
    assert result.stderr.count("\n  image ") == 20
    assert result.stderr.endswith("\n  and 5 more; --json lists all.\n")
    read = read_json(run("search", "--image-ids", wanted, "--json"))
    assert len(read["failures"]) == 25


def test_fetch_nothing(run: Run) -> None:
    result = run("fetch", "-w", "map_type=X map")
    assert (result.exit_code, table(result.stdout)) == (1, [])
    assert result.stderr.startswith("No image matched")


# ---- a real terminal --------------------------------------------------------------


@pytest.fixture(scope="module")
def odd_server() -> Any:
    """A server with names that would steer a terminal, or take two columns."""
    with NeuroVaultServer() as running:
        images = running.archive.images
        images[10410]["name"] = "\x1b[2J\x1b]0;owned\x07red\r\n\u202eevil" * 3
        images[10411]["name"] = "手のボタンを押すときの脳活動の統計地図" * 3
        yield running


def terminal(
    width: int, environment: Mapping[str, str], server: NeuroVaultServer, *more: str
) -> Shown:
    env = {**environment, "INTAKE_NEUROVAULT_URL": server.url, "LANG": "C.UTF-8"}
    return in_terminal(width, *more, env=env)


@pytest.mark.parametrize("columns", [80, 200])
def test_a_table_fits_the_terminal(
    environment: dict[str, str], odd_server: NeuroVaultServer, columns: int
) -> None:
    shown = terminal(
        columns, environment, odd_server, "search", "--collection-ids", "658"
    )
    assert shown.code == 0
    lines = shown.lines
    start = next(n for n, line in enumerate(lines) if line.lstrip().startswith("id  "))
    body = lines[start : start + 21]
    assert max(map(width, body)) <= columns
    assert all(line.isprintable() for line in body)
    assert len({width(line[: line.index("658")]) for line in body[1:]}) == 1
    assert "20 images in 1 collection." in lines
    assert "\x1b[2J" not in shown.text
    assert "owned\x07" not in shown.text
    assert "\\x1b[2J" in shown.text
    assert max(map(width, body)) > columns - 10
    assert body[2].count("…") == (2 if columns == 80 else 1)
    assert "手のボタン" in body[2]


@pytest.mark.parametrize("columns", [80, 200])
def test_show_fits_the_terminal(
    environment: dict[str, str], odd_server: NeuroVaultServer, columns: int
) -> None:
    shown = terminal(columns, environment, odd_server, "show", "10410")
    assert shown.code == 0
    assert shown.text.count("\x1b") == 0
    folder = environment["NILEARN_DATA"]
    long = [line for line in shown.lines if width(line) > columns]
    assert [line for line in long if folder not in line and "://" not in line] == []
    assert ("subjects who went into the map" in shown.text) == (columns == 200)


def test_explain_on_a_terminal(
    environment: dict[str, str], server: NeuroVaultServer
) -> None:
    shown = terminal(80, environment, server, "search", "-w", "age", "--explain")
    assert shown.code == 0
    text = "\n".join(shown.lines)
    assert re.search(r"^term +seen  removed  alone$", text, re.MULTILINE)
    assert re.search(r"^age is not null +89 +81 +81$", text, re.MULTILINE)


def test_fetch_on_a_terminal(
    environment: dict[str, str], server: NeuroVaultServer
) -> None:
    shown = terminal(80, environment, server, "fetch", "--image-ids", "10426,77")
    assert shown.code == 1
    path = "neurovault/collection_658/image_10426.nii.gz"
    (line,) = [line for line in shown.lines if line.endswith(path)]
    assert line.startswith("10426  /")
    assert "1 file in 1 collection." in shown.lines
    assert "  image 77" in shown.lines


def test_a_terminal_that_lacks_letters(environment: dict[str, str]) -> None:
    done = subprocess.run(
        command("search", "--image-ids", "48001", "--columns", "collection_name"),
        env=environment | {"PYTHONIOENCODING": "koi8-r", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[1].startswith(b"\\xc9motion: faces")


def test_ctrl_c_keeps_what_is_finished(
    environment: dict[str, str], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault("/media/", "silent", after=3))
    arguments = ["--collection-ids", "658", "--url", fresh_server.url]
    with subprocess.Popen(
        command("fetch", *arguments),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        folder = data_dir / "neurovault" / "collection_658"
        for _ in range(3000):
            if len(list(folder.glob("image_*.nii.gz"))) >= 3:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (130, "")
    assert err == "Stopped; what is finished is kept.\n"
    assert len(list(folder.glob("image_*.nii.gz"))) >= 3


def test_a_closed_pipe_ends_quietly(environment: dict[str, str]) -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("there is no bash here")
    line = " ".join(map(_quoted, command("search", "--collection-ids", "658")))
    done = subprocess.run(
        [shell, "-c", f"{line} | head -n 1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.startswith("id\tcollection_id\tname")
    assert done.stderr == ""


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# ---- completion -------------------------------------------------------------------


def completions(env: Mapping[str, str], words: str, number: int) -> list[str]:
    done = subprocess.run(
        command(),
        env={
            **env,
            "_NEUROVAULT_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "number", "some"),
    [
        ("neurovault ", 1, ["search", "show", "fetch", "completion"]),
        ("neurovault search --mode ", 3, ["download_new", "offline", "update"]),
        ("neurovault search --errors ", 3, ["raise", "warn", "skip"]),
        ("neurovault search --where 'number_of", 3, ["number_of_subjects"]),
        ("neurovault search --where '!ag", 3, ["!age"]),
        ("neurovault search -w 'age", 3, ["age", "age>=", "age<", "age="]),
        ("neurovault search -w 'map_type=Z", 3, ["map_type=Z map"]),
        ("neurovault search -w 'map_type=T map,Z", 3, ["map_type=T map,Z map"]),
        ("neurovault search -w 'not_mni=", 3, ["not_mni=true", "not_mni=false"]),
        ("neurovault fetch --collection-where DO", 3, ["DOI"]),
        ("neurovault search --columns id,number", 3, ["id,number_of_subjects"]),
        ("neurovault freeze x.yaml --grid mni", 4, ["mni152-3mm", "mni152-2mm"]),
        ("neurovault completion ", 2, ["bash", "zsh", "fish"]),
    ],
)
def test_completion(
    child_environment: dict[str, str], words: str, number: int, some: list[str]
) -> None:
    found = completions(child_environment, words, number)
    assert set(some) <= set(found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(run: Run, shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert f"_NEUROVAULT_COMPLETE={shell}_complete" in result.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.stdout, text=True, check=True)


def test_completion_loads_nothing_heavy(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys\n"
        "from click.shell_completion import BashComplete\n"
        "from intake_neurovault.cli import main\n"
        "made = BashComplete(main, {}, 'neurovault', '_NEUROVAULT_COMPLETE')\n"
        "found = made.get_completions(['search', '--where'], 'age')\n"
        "print(len(found), *sys.modules)"
    )
    count, *loaded = run_python(code).stdout.split()
    assert int(count) > 5
    heavy = {"numpy", "pandas", "xarray", "requests", "intake", "nilearn", "dask"}
    assert heavy & set(loaded) == set()
