"""The pages of the documentation: each runs as it is written, and none is forgotten."""

from __future__ import annotations

import ast
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn import EXAMPLES, MADE_BY
from pages import (
    DOCS,
    ELSEWHERE,
    FENCE,
    NEEDED,
    ROOT,
    TOLD,
    WIDTH,
    blocks,
    can_run,
    run,
    runnable,
    wrapped,
)

import intake_neurovault
from intake_neurovault import errors

PAGES = runnable()
TASKS = {
    *("install", "find", "filter", "load", "resample", "from_nilearn", "offline"),
    *("share_and_freeze", "cluster", "cache", "private", "catalogs", "troubleshooting"),
}
PACKAGE = ROOT / "intake_neurovault"
QUOTED = re.compile(r"^- (`+)(.+?)\1(?: |$)", re.MULTILINE)
GAP = "…"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where outcomes go: to the site that is built next, if one is."""
    made = os.environ.get("INTAKE_NEUROVAULT_MADE")
    return Path(made) / "pages" if made else tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest,
    kept: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Future[str]]]:
    """Run the pages that are tested, two at a time; give what was wrong with each."""
    tested = {
        item.callspec.params["page"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.function is test_it_runs
    }
    forgotten = ("INTAKE_NEUROVAULT_", "NILEARN_", "HTTP", "http", "ALL_", "all_")
    settings = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(forgotten)
    }
    settings["MPLCONFIGDIR"] = str(tmp_path_factory.mktemp("matplotlib"))
    with ThreadPoolExecutor(2) as pool:
        yield {
            page.name: pool.submit(run, page, kept / page.stem, settings)
            for page in PAGES
            if page in tested and can_run(page)
        }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_it_runs(page: Path, runs: Mapping[str, Future[str]], kept: Path) -> None:
    if not can_run(page):
        pytest.skip(f"{NEEDED[page.name]} is not installed")
    assert runs[page.name].result() == ""
    told = (kept / page.stem / TOLD).read_text("utf-8")
    ours = ("127.0.0.1", tempfile.gettempdir(), str(ROOT))
    assert [word for word in ours if word in told] == []


def test_there_is_a_page_for_each_task() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} >= TASKS


def test_pages_that_run_elsewhere_are_there() -> None:
    assert [name for name in ELSEWHERE if not (DOCS / name).exists()] == []


def test_each_page_is_in_the_guide() -> None:
    found = [
        name
        for path in DOCS.glob("*.md")
        for body in re.findall(
            r"^```\{toctree\}\n(.*?)^```", path.read_text("utf-8"), re.M | re.S
        )
        for name in re.findall(r"^(\w+)\*?$", body, re.M)
    ]
    written = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert written - set(found) == set()
    assert len(found) == len(set(found))


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", text, re.M))
    listed |= set(re.findall(r"`(\w+)`", text))
    offered = {name for name in intake_neurovault.__all__ if name != "__version__"}
    assert offered - listed == set()


def test_blocks_are_told_apart() -> None:
    text = (
        "# T\n\n```yaml\n# a.yaml\nb: 1\n```\n\n```bash\nneurovault demo\n```\n\n"
        "```bash\npip install . && neurovault demo\n```\n\n```python\nx = 1\n```\n"
    )
    found = blocks(text)
    assert [each.language for each in found] == ["yaml", "bash", "bash", "python"]
    assert [each.file for each in found] == ["a.yaml", None, None, None]
    assert [each.is_command for each in found] == [False, True, False, False]
    assert found[-1].line == text.splitlines().index("x = 1") + 1
    assert len(FENCE.findall(text)) == len(found)


def test_sentences_are_broken_and_tables_are_not() -> None:
    row = "cell  " * 30
    sentence = "some words of a message " * 9
    *broken, last = wrapped(f"{sentence}\n{row}").split("\n")
    assert last == row
    assert max(map(len, broken)) <= WIDTH
    assert " ".join(broken).split() == sentence.split()


def test_every_picture_is_drawn_by_a_test() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md")]
    shown = {
        Path(target).name
        for page in pages
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text("utf-8"))
    }
    assert shown <= set(MADE_BY)
    assert {path.name for path in EXAMPLES.glob("*.png")} == set(MADE_BY)
    for name, test in MADE_BY.items():
        assert name in (ROOT / "tests" / test).read_text("utf-8")


# ---- troubleshooting ---------------------------------------------------------


def sections() -> dict[str, str]:
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def messages() -> list[str]:
    """Every text of the package, with a gap where a value is filled in."""
    return [
        written
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (written := flat(node))
    ]


def flat(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(flat(part) or GAP for part in node.values)
    return ""


def test_every_error_has_its_section() -> None:
    named = {
        name
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert named - set(sections()) == set()


def quoted() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    return [message for _, message in QUOTED.findall(text)]


def holds(text: str, parts: list[str]) -> bool:
    """Whether a text has all parts, one behind the other."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


def test_every_message_that_is_quoted_is_given() -> None:
    given = messages()
    asked = {message: message.split(GAP) for message in quoted()}
    assert [
        message
        for message, parts in asked.items()
        if not any(holds(text, parts) for text in given)
    ] == []
    assert len(asked) >= 40


def test_a_message_that_nobody_gives_is_noticed() -> None:
    assert holds("a is not b: c", ["a", "not", "c"])
    assert not holds("a is not b: c", ["not", "a"])
