"""What is written for people: docstrings, examples, README, change log."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import inspect
import json
import re
import shlex
import types
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from numpydoc.validate import validate
from pages import DOCS, FENCE

import intake_neurovault

ROOT = Path(__file__).parents[1]
PACKAGE = intake_neurovault.__name__
PAGES = (
    "README.md",
    "CHANGELOG.md",
    *(path.relative_to(ROOT).as_posix() for path in sorted(DOCS.glob("*.md"))),
)

EVERYWHERE = {"GL03", "GL06", "GL07", "GL08", "GL10", "SS01", "SS02", "SS03", "SS04"}
PARAMETERS = {"PR01", "PR02", "PR03", "PR07", "PR10"}
FUNCTIONS = EVERYWHERE | PARAMETERS | {"RT01", "RT03", "YD01"}
FRONT_DOOR = {"EX01"}
"""Every function and class that the package offers at its top has an example."""

LINK = re.compile(r"\]\(([^)\s]+)\)")


def module_names() -> list[str]:
    """Name every module of the package, importing none."""
    paths = [path.relative_to(ROOT) for path in (ROOT / PACKAGE).rglob("*.py")]
    names = [".".join(path.with_suffix("").parts) for path in paths]
    return sorted(name.removesuffix(".__init__") for name in names)


@cache
def modules() -> tuple[types.ModuleType, ...]:
    """Every module of the package, imported."""
    return tuple(importlib.import_module(name) for name in module_names())


def is_ours(thing: object, module: types.ModuleType) -> bool:
    return inspect.getmodule(thing) is module


def public_names() -> Iterator[tuple[str, object]]:
    """Every public function and class, under the module that defines it."""
    for module in modules():
        for name, thing in vars(module).items():
            public = not name.startswith("_")
            kind = inspect.isfunction(thing) or inspect.isclass(thing)
            if public and kind and is_ours(thing, module):
                yield f"{module.__name__}.{name}", thing


def public_methods() -> Iterator[str]:
    """Every public method and property that a public class defines itself."""
    for owner, thing in public_names():
        if not inspect.isclass(thing):
            continue
        for name, member in vars(thing).items():
            function = getattr(member, "fget", None) or getattr(
                member, "__func__", member
            )
            written = inspect.isfunction(function) and is_ours(
                function, inspect.getmodule(thing) or thing
            )
            if written and not name.startswith("_"):
                yield f"{owner}.{name}"


def checks_for(thing: object) -> set[str]:
    if not inspect.isclass(thing):
        return FUNCTIONS
    # Fields and errors are described where they are written, not in a section.
    described_elsewhere = is_dataclass(thing) or issubclass(thing, BaseException)
    return EVERYWHERE if described_elsewhere else EVERYWHERE | {"PR02", "PR07", "PR10"}


def complaints(name: str, checks: set[str]) -> list[str]:
    found = [(code, text) for code, text in validate(name)["errors"] if code in checks]
    # A class that shows another signature than its __init__ documents both.
    return [f"{code}: {text}" for code, text in found if "{'**" not in text]


def undescribed_fields(thing: type) -> list[str]:
    """Public fields of a dataclass with no docstring under them."""
    (tree,) = ast.parse(inspect.getsource(thing)).body
    assert isinstance(tree, ast.ClassDef)
    missing = []
    for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        is_field = isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        described = (
            isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        )
        if is_field and not node.target.id.startswith("_") and not described:
            missing.append(node.target.id)
    return missing


def test_every_module_says_what_it_is_for() -> None:
    assert [module.__name__ for module in modules() if not module.__doc__] == []


def test_every_public_name_is_documented() -> None:
    wrong = {
        name: found
        for name, thing in public_names()
        if (found := complaints(name, checks_for(thing)))
    }
    assert wrong == {}


def test_every_public_method_is_documented() -> None:
    checks = EVERYWHERE | {"PR02", "PR07", "PR10"}
    wrong = {
        name: found for name in public_methods() if (found := complaints(name, checks))
    }
    assert wrong == {}


def test_every_field_is_described() -> None:
    wrong = {
        name: missing
        for name, thing in public_names()
        if inspect.isclass(thing) and is_dataclass(thing)
        if (missing := undescribed_fields(thing))
    }
    assert wrong == {}


def test_the_front_door_shows_examples() -> None:
    wrong = {}
    for name in intake_neurovault.__all__:
        thing = getattr(intake_neurovault, name)
        shown = inspect.isfunction(thing) or inspect.isclass(thing)
        error = inspect.isclass(thing) and issubclass(thing, BaseException | Warning)
        if shown and not error:
            found = complaints(f"{thing.__module__}.{thing.__qualname__}", FRONT_DOOR)
            wrong |= {name: found} if found else {}
    assert wrong == {}


@pytest.mark.parametrize("name", module_names())
def test_examples_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert result.failed == 0


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder()
    found = [test for m in modules() for test in finder.find(m) if test.examples]
    assert len(found) >= 10


def test_the_package_lists_what_it_offers() -> None:
    offered = intake_neurovault.__all__
    assert len(offered) == len(set(offered))
    public = {
        name
        for name in dir(intake_neurovault)
        if not name.startswith("_")
        and not isinstance(getattr(intake_neurovault, name), types.ModuleType)
        and name != "annotations"
    }
    assert public == {name for name in offered if not name.startswith("_")}


def test_the_package_refuses_what_it_does_not_offer() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        intake_neurovault.no_such_name  # noqa: B018  the access itself is tested


# ---- pages ------------------------------------------------------------------


def check_python(code: str) -> None:
    prompts = code.lstrip().startswith(">>>")
    ast.parse(doctest.script_from_examples(code) if prompts else code)


def check_shell(code: str) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        shlex.split(line, comments=True)


CHECKS: dict[str, Callable[[str], object]] = {
    "python": check_python,
    "pycon": check_python,
    "yaml": yaml.safe_load,
    "json": json.loads,
    "bash": check_shell,
    "console": check_shell,
    "sh": check_shell,
    "text": str,
    "bibtex": str,
    "": str,
}


def blocks(page: str) -> list[tuple[str, str]]:
    return FENCE.findall((ROOT / page).read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_can_be_read(page: str) -> None:
    for language, code in blocks(page):
        CHECKS[language](code)


def test_the_readme_shows_code() -> None:
    assert {"python", "yaml", "bash"} <= {
        language for language, _ in blocks("README.md")
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    targets = [link.partition("#")[0] for link in LINK.findall(FENCE.sub("", text))]
    local = [target for target in targets if target and "://" not in target]
    home = (ROOT / page).parent
    assert [t for t in local if not (home / t.removeprefix("mailto:")).exists()] == []


def test_the_readme_links_to_its_own_sections() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    anchors = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles
    }
    linked = {link[1:] for link in LINK.findall(text) if link.startswith("#")}
    assert linked - anchors == set()


def version() -> str:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["metadata"]["version"]


def test_the_change_log_tells_about_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    (newest, *_) = re.findall(r"^## \[?(\d+\.\d+\.\d+)", text, re.MULTILINE)
    assert newest == version()


def test_the_package_knows_its_version() -> None:
    assert intake_neurovault.__version__ == version()
