"""The table of layers, and that the code keeps to it.

Modules may import only from layers below their own. A package of other people is
imported by its owners alone. The same table stands in
``docs/architecture.md``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "intake_neurovault"
SOURCE = ROOT / PACKAGE

LAYERS = {
    "axes": 0,
    "errors": 0,
    "inflation": 0,
    "garbage": 0,
    "address": 1,
    "cuts": 1,
    "datadir": 1,
    "deferred": 1,
    "forks": 1,
    "grid": 1,
    "halt": 1,
    "integrity": 1,
    "layout": 1,
    "lettering": 1,
    "modes": 1,
    "neurosynth": 1,
    "notices": 1,
    "refs": 1,
    "resource": 1,
    "schema": 1,
    "separable": 1,
    "strictness": 1,
    "values": 1,
    "templates": 1,
    "tiling": 1,
    "atomic": 2,
    "averages": 2,
    "crew": 2,
    "decoding": 2,
    "endpoint": 2,
    "headers": 2,
    "mask_files": 2,
    "origins": 2,
    "parameters": 2,
    "predicates": 2,
    "records": 2,
    "resampling": 2,
    "retry": 2,
    "room": 2,
    "sheets": 2,
    "text_tables": 2,
    "typed_terms": 2,
    "words": 2,
    "captions": 2,
    "likeness": 2,
    "measures": 2,
    "framing": 2,
    "hemispheres": 2,
    "conditions": 3,
    "bodies": 3,
    "bunch": 3,
    "diagnosis": 3,
    "inventory": 3,
    "nifti": 3,
    "pages": 3,
    "pool": 3,
    "sessions": 3,
    "sidecars": 3,
    "stacked": 3,
    "voxels": 3,
    "wholeness": 3,
    "catalog_files": 3,
    "titles": 3,
    "drawing": 3,
    "remarks": 3,
    "kept": 3,
    "surfaces": 3,
    "arrival": 4,
    "changes": 4,
    "clauses": 4,
    "clearing": 4,
    "coordinates": 4,
    "fieldwise": 4,
    "filters": 4,
    "findings": 4,
    "holdings": 4,
    "ledger": 4,
    "paging": 4,
    "regions": 4,
    "stack": 4,
    "transport": 4,
    "word_files": 4,
    "declared": 4,
    "panels": 4,
    "gifti": 4,
    "blocks": 5,
    "choosing": 5,
    "columns": 5,
    "comparisons": 5,
    "found": 5,
    "known": 5,
    "orientation": 5,
    "pieces": 5,
    "placement": 5,
    "query": 5,
    "questions": 5,
    "receipts": 5,
    "result_filter": 5,
    "series": 5,
    "tables": 5,
    "transfer": 5,
    "map_grid": 5,
    "atlases": 5,
    "maskers": 5,
    "contrasts": 5,
    "about": 6,
    "census": 6,
    "client": 6,
    "cube": 6,
    "gridded_files": 6,
    "imaging": 6,
    "instances": 6,
    "locks": 6,
    "lookup": 6,
    "portrait": 6,
    "segment": 6,
    "shelf": 6,
    "sieve": 6,
    "matrix": 6,
    "appraisal": 7,
    "parcels": 6,
    "nimads": 6,
    "drift": 7,
    "entries": 7,
    "lock_files": 7,
    "store": 7,
    "subsets": 7,
    "view": 7,
    "pictures": 7,
    "extraction": 7,
    "accessor": 8,
    "narrowing": 8,
    "answers": 8,
    "frozen_files": 8,
    "index": 8,
    "listings": 8,
    "tree": 8,
    "opening": 9,
    "checkup": 9,
    "copies": 9,
    "decoder": 9,
    "direct": 9,
    "mirror": 9,
    "warm": 9,
    "whereabouts": 9,
    "downloads": 10,
    "filesystem": 10,
    "finder": 10,
    "gridded": 10,
    "knowledge": 10,
    "resampled": 10,
    "counting": 11,
    "hindsight": 11,
    "vault": 11,
    "sides": 11,
    "exploring": 12,
    "freezing": 12,
    "frozen": 12,
    "matches": 12,
    "mending": 12,
    "showing": 12,
    "checking": 12,
    "cortex": 12,
    "combining": 12,
    "reports": 13,
    "result": 13,
    "delegation": 14,
    "forwarding": 14,
    "arguments": 14,
    "nilearn_terms": 14,
    "upkeep": 14,
    "driver": 15,
    "directory": 15,
    "engine": 15,
    "nilearn_api": 15,
    "testing": 15,
    "reader_catalogs": 16,
    "readers": 16,
    "cli_output": 16,
    "cli_text": 16,
    "catalog": 16,
    "cli_types": 16,
    "demo": 16,
    "nilearn_samples": 16,
    "named_entries": 17,
    "cli_cache": 17,
    "cli_options": 17,
    "cli_freeze": 18,
    "cli_search": 18,
    "cli_show": 18,
    "cli": 19,
}
"""Each module, or package inside the package, and its layer."""

OWNERS = {
    "nibabel": {"headers", "mask_files", "testing"},
    "nilearn": {},
    "nilearn.plotting": {"drawing"},
    "scipy": {"axes", "extraction", "parcels", "resampling", "testing"},
    "requests": {"sessions", "transport"},
    "urllib3": {"transport"},
    "fsspec": {"direct", "filesystem", "origins", "tree"},
    "dask": {"blocks"},
    "xarray": {
        "accessor",
        "appraisal",
        "cortex",
        "cube",
        "engine",
        "extraction",
        "imaging",
        "matrix",
        "opening",
        "orientation",
        "pictures",
        "result",
        "series",
        "showing",
        "voxels",
    },
    "sklearn": {"bunch", "words"},
    "concurrent": {"crew", "pool"},
    "deflate": {"inflation"},
    "isal": {"inflation"},
    "tqdm": {"pool"},
    "pandas": {"appraisal", "checking", "exploring", "freezing", "matches", "tables"},
    "intake": {
        "catalog",
        "demo",
        "driver",
        "named_entries",
        "reader_catalogs",
        "readers",
    },
    "sqlite3": {"segment"},
    "click": {
        "cli",
        "cli_cache",
        "cli_freeze",
        "cli_options",
        "cli_output",
        "cli_search",
        "cli_show",
        "cli_types",
    },
    "yaml": {"catalog", "catalog_files", "lock_files", "named_entries", "typed_terms"},
    "nimare": {},
}
"""Who may import what; the longest matching name counts."""

FREE = {"numpy"}
"""Foreign packages that every module may import."""

DOOR = LAYERS["driver"]
"""The layer from which on ``import intake_neurovault`` itself is allowed."""

LIGHT = [
    "intake_neurovault",
    "intake_neurovault.catalog",
    "intake_neurovault.cli",
    "intake_neurovault.driver",
    "intake_neurovault.readers",
]
HEAVY = [
    "nilearn",
    "nibabel",
    "xarray",
    "pandas",
    "sklearn",
    "dask",
    "scipy",
    "requests",
    "matplotlib",
]
LONGEST_FUNCTION = 50
LONGEST_MODULE = 400


@dataclass(frozen=True)
class Import:
    """One imported module, as written somewhere."""

    target: str
    """Absolute dotted name; for ``from x import y`` this is ``x.y``."""
    line: int
    """Where."""
    function: str | None
    """The function it stands in, None at module level."""
    for_types: bool
    """Whether it is for the type checker only."""


class Imports(ast.NodeVisitor):
    """Collect the imports of a module, with where they stand."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: list[Import] = []
        self._functions: list[str] = []
        self._typing = 0

    def _add(self, target: str, node: ast.stmt) -> None:
        function = self._functions[-1] if self._functions else None
        self.found.append(Import(target, node.lineno, function, self._typing > 0))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            parents = self.package.split(".")
            stem = ".".join(parents[: len(parents) - node.level + 1])
            base = f"{stem}.{base}".rstrip(".")
        for alias in node.names:
            self._add(f"{base}.{alias.name}", node)

    def visit_If(self, node: ast.If) -> None:
        typing = "TYPE_CHECKING" in ast.dump(node.test)
        self._typing += typing
        for child in node.body:
            self.visit(child)
        self._typing -= typing
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    name: str
    """Dotted name without the package's, such as ``query`` or ``testing.server``."""
    path: Path
    """The file."""

    @property
    def unit(self) -> str:
        """The row of the table it belongs to."""
        return self.name.partition(".")[0]

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.path.read_text("utf-8"), str(self.path))

    @property
    def imports(self) -> list[Import]:
        inside = self.path.parent.relative_to(ROOT).parts
        visitor = Imports(".".join(inside))
        visitor.visit(self.tree)
        return visitor.found


@cache
def modules() -> dict[str, Module]:
    """Every module but the package's own ``__init__``, by name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = Module(name, path)
    return found


def own_module(target: str) -> str | None:
    """Name the module of this package that an import reaches; "" for its door."""
    if target.partition(".")[0] != PACKAGE:
        return None
    name = target.removeprefix(PACKAGE).lstrip(".")
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name


def foreign_package(target: str) -> str | None:
    """Name the row of OWNERS that an import falls under."""
    name = target
    while name:
        if name in OWNERS:
            return name
        name = name.rpartition(".")[0]
    return None


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method of a module, also nested ones."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body without its docstring."""
    body = function.body
    documented = ast.get_docstring(function) is not None
    if documented and len(body) == 1:
        return 0
    return (function.end_lineno or 0) - body[documented].lineno + 1


def test_the_table_names_the_modules_that_there_are() -> None:
    assert {m.unit for m in modules().values()} == set(LAYERS)


def test_imports_only_lead_downwards() -> None:
    wrong = []
    for module in modules().values():
        for found in module.imports:
            target = own_module(found.target)
            if target is None or target.partition(".")[0] == module.unit:
                continue
            layer = LAYERS[module.unit]
            allowed = (
                layer >= DOOR
                if target == ""
                else LAYERS[target.partition(".")[0]] < layer
            )
            if not allowed:
                wrong.append(f"{module.name}:{found.line} imports {found.target}")
    assert wrong == []


def test_no_module_reaches_itself() -> None:
    reaches = {
        name: {own_module(found.target) for found in module.imports} - {None, "", name}
        for name, module in modules().items()
    }
    # The `__init__` of an inner package gathers its modules; those that name the
    # package name the module behind it.
    for _ in reaches:
        for name, targets in reaches.items():
            reaches[name] = targets.union(*(reaches[t] for t in targets if t))
    assert [name for name, targets in reaches.items() if name in targets] == []


def test_foreign_packages_are_imported_by_their_owners_only() -> None:
    wrong = []
    for module in modules().values():
        for found in module.imports:
            package = foreign_package(found.target)
            if package is None or found.for_types:
                continue
            if module.unit not in OWNERS[package]:
                wrong.append(f"{module.name}:{found.line} imports {found.target}")
    assert wrong == []


def test_every_owner_uses_what_it_owns() -> None:
    used = {
        (package, module.unit)
        for module in modules().values()
        for found in module.imports
        if (package := foreign_package(found.target)) is not None
    }
    owned = {(package, unit) for package, units in OWNERS.items() for unit in units}
    assert owned - used == set()


def test_every_foreign_package_has_an_owner() -> None:
    known = {name.partition(".")[0] for name in OWNERS} | FREE | {PACKAGE}
    required = required_packages()
    assert required <= known | {"jinja2", "setuptools"}


def required_packages() -> set[str]:
    """The import names of what setup.cfg requires at run time."""
    text = (ROOT / "setup.cfg").read_text("utf-8")
    block = re.search(r"^install_requires =\n((?:    .+\n)+)", text, re.MULTILINE)
    assert block is not None
    names = re.findall(r"^    ([\w-]+)", block[1], re.MULTILINE)
    return {
        {"scikit-learn": "sklearn", "pyyaml": "yaml"}.get(name, name) for name in names
    }


def test_no_import_inside_a_function() -> None:
    wrong = [
        f"{module.name}:{found.line} in {found.function}"
        for module in modules().values()
        for found in module.imports
        if found.function is not None
    ]
    assert wrong == []


def test_no_module_bears_the_name_of_a_public_function() -> None:
    clashes = [
        f"{module.name}.{node.name}"
        for module in modules().values()
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef)
        and f"{module.name.rpartition('.')[0]}.{node.name}".lstrip(".") in modules()
    ]
    assert clashes == []


def test_no_function_is_too_long() -> None:
    wrong = {
        f"{module.name}.{function.name}": length
        for module in modules().values()
        for function in functions(module)
        if (length := body_length(function)) > LONGEST_FUNCTION
    }
    assert wrong == {}


def test_no_module_is_too_long() -> None:
    wrong = {
        module.name: length
        for module in modules().values()
        if (length := len(module.path.read_text("utf-8").splitlines())) > LONGEST_MODULE
    }
    assert wrong == {}


def test_the_page_shows_the_same_table() -> None:
    rows = re.findall(
        r"^\| (\d+) \| (.+) \|$",
        (ROOT / "docs" / "architecture.md").read_text("utf-8"),
        re.MULTILINE,
    )
    shown = {
        name: int(layer)
        for layer, cell in rows
        for name in re.findall(r"(?:^|; )`(\w+)`", cell)
    }
    assert shown == LAYERS


@pytest.mark.parametrize(
    "code",
    [
        *(f"import {name}" for name in LIGHT),
        "import intake; intake.open_catalog; list(intake.cat)",
        "import intake; intake.registry.drivers.enabled_plugins()['neurovault']",
    ],
)
def test_imports_stay_light(run_python: Callable[..., object], code: str) -> None:
    seen = run_python(
        f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    )
    assert set(HEAVY) & set(json.loads(seen.stdout)) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", [("a.b", None, False)]),
        ("from a import b", [("a.b", None, False)]),
        ("from . import b", [(f"{PACKAGE}.b", None, False)]),
        ("from .a import b", [(f"{PACKAGE}.a.b", None, False)]),
        ("def f():\n    import a", [("a", "f", False)]),
        ("class C:\n    def f(self):\n        import a", [("a", "f", False)]),
        ("if TYPE_CHECKING:\n    import a\nelse:\n    import b", [
            ("a", None, True),
            ("b", None, False),
        ]),
        ("try:\n    import a\nexcept ImportError:\n    a = None", [("a", None, False)]),
    ],
)  # fmt: skip
def test_the_collector_sees_imports(
    source: str, expected: list[tuple[str, str | None, bool]]
) -> None:
    visitor = Imports(PACKAGE)
    visitor.visit(ast.parse(source))
    seen = [(found.target, found.function, found.for_types) for found in visitor.found]
    assert seen == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("nilearn.plotting.plot_stat_map", "nilearn.plotting"),
        ("nilearn.surface", "nilearn"),
        ("nilearn", "nilearn"),
        ("concurrent.futures.ThreadPoolExecutor", "concurrent"),
        ("json", None),
    ],
)
def test_foreign_names_fall_under_their_longest_row(
    target: str, expected: str | None
) -> None:
    assert foreign_package(target) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f():\n    """Say."""', 0),
        ('def f():\n    """Say.\n\n    More.\n    """\n    return 1\n', 1),
        ("def f():\n    a = 1\n\n    return a\n", 3),
    ],
)
def test_docstrings_do_not_count_as_length(source: str, expected: int) -> None:
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert body_length(function) == expected
