"""The package's front door: what it offers, and what starting up costs."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import intake_neurovault
from intake_neurovault.testing import NeuroVaultServer

NAMES = [name for name in intake_neurovault.__all__ if not name.startswith("_")]
HEAVY = {
    "dask",
    "matplotlib",
    "nibabel",
    "nilearn",
    "numpy",
    "pandas",
    "requests",
    "scipy",
    "sklearn",
    "xarray",
}
Loaded = Callable[[str], set[str]]


@pytest.fixture
def loaded(run_python: Callable[..., Any]) -> Loaded:
    """Tell which modules are there after some code has run in a fresh interpreter."""

    def names(code: str) -> set[str]:
        report = "import json, sys\nprint(json.dumps(sorted(sys.modules)))"
        return set(json.loads(run_python(f"{code}\n{report}").stdout.splitlines()[-1]))

    return names


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.startswith("intake_neurovault")}


# ---- names -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_name_comes_from_the_module_that_defines_it(name: str) -> None:
    thing = getattr(intake_neurovault, name)
    home = importlib.import_module(
        f"intake_neurovault.{intake_neurovault._HOME_OF[name]}"
    )
    assert thing is getattr(home, name)
    assert getattr(thing, "__module__", home.__name__) == home.__name__


def test_all_lists_every_name_once() -> None:
    assert sorted(NAMES) == sorted(intake_neurovault._HOME_OF)
    assert len(set(intake_neurovault.__all__)) == len(intake_neurovault.__all__)
    assert "__version__" in intake_neurovault.__all__


def test_dir_shows_what_is_offered_and_nothing_else() -> None:
    shown = dir(intake_neurovault)
    assert [name for name in shown if not name.startswith("_")] == sorted(NAMES)
    assert {"__version__", "__doc__", "__path__"} <= set(shown)


def test_everything_can_be_imported_at_once() -> None:
    names: dict[str, Any] = {}
    exec("from intake_neurovault import *", names)  # noqa: S102  the form is tested
    assert set(NAMES) <= set(names)


@pytest.mark.parametrize("name", ["serach", "nosuchname", "__wrapped__"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    text = f"module 'intake_neurovault' has no attribute '{name}'"
    with pytest.raises(AttributeError, match=text) as caught:
        getattr(intake_neurovault, name)
    assert (caught.value.name, caught.value.obj) == (name, intake_neurovault)
    assert not hasattr(intake_neurovault, name)
    with pytest.raises(ImportError, match=f"cannot import name '{name}'"):
        exec(f"from intake_neurovault import {name}")  # noqa: S102  the form is tested


def test_a_misspelt_name_gets_a_suggestion(run_python: Callable[..., Any]) -> None:
    done = run_python("import intake_neurovault as nv\nnv.serach()", check=False)
    assert done.stderr.rstrip().endswith("Did you mean: 'search'?")


# ---- start-up ----------------------------------------------------------------------


def test_the_package_alone_loads_nothing_else(loaded: Loaded) -> None:
    modules = loaded("import intake_neurovault\ndir(intake_neurovault)")
    assert ours(modules) == {"intake_neurovault"}
    assert modules & (HEAVY | {"intake", "fsspec", "click"}) == set()


def test_importing_intake_loads_the_readers_and_little_else(loaded: Loaded) -> None:
    modules = loaded("import intake\nassert 'neurovault' in intake.cat")
    light = {f"intake_neurovault.{name}" for name in ("errors", "readers", "templates")}
    assert ours(modules) == {"intake_neurovault", *light}
    assert modules & HEAVY == set()


@pytest.mark.parametrize(
    "code",
    [
        "import intake\nintake.open_neurovault",
        "import intake\ncat = intake.cat.neurovault\nassert list(cat)\ndir(cat)",
        "import intake\nassert list(intake.cat.neurovault.search('pain'))",
        "import intake\nintake.open_neurovault\nintake.open_neurovault_catalog",
    ],
)
def test_opening_a_catalog_loads_the_driver_but_nothing_heavy(
    loaded: Loaded, code: str
) -> None:
    modules = loaded(code)
    assert "intake_neurovault.driver" in modules
    assert "intake_neurovault.result" not in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_help_loads_nothing_heavy(loaded: Loaded, arguments: list[str]) -> None:
    code = (
        "from intake_neurovault.cli import main\n"
        f"try:\n    main({arguments}, prog_name='neurovault')\n"
        "except SystemExit as end:\n    assert end.code == 0"
    )
    modules = loaded(code)
    light = {
        *(
            "cli",
            "cli_cache",
            "cli_freeze",
            "cli_options",
            "cli_output",
            "cli_search",
            "cli_show",
        ),
        *("cli_text", "cli_types", "errors", "lettering", "schema", "strictness"),
        *("text_tables", "typed_terms", "values"),
    }
    names = {f"intake_neurovault.{name}" for name in light}
    assert ours(modules) == {"intake_neurovault", *names}
    assert modules & (HEAVY | {"intake", "fsspec"}) == set()


def test_a_lazy_cube_needs_nothing_that_reads_or_learns_from_maps(
    loaded: Loaded, server: NeuroVaultServer, data_dir: Path
) -> None:
    arguments = f"collection_ids=[658], url={server.url!r}, data_dir={str(data_dir)!r}"
    code = f"import intake_neurovault as nv\nnv.search({arguments}).to_dask()"
    modules = loaded(code)
    assert {"xarray", "dask"} <= modules
    unneeded = {"nilearn", "sklearn", "matplotlib", "nibabel", "scipy.ndimage"}
    assert modules & {*unneeded, "intake", "fsspec"} == set()


def test_the_version_is_read_when_asked_for(loaded: Loaded) -> None:
    assert "importlib.metadata" not in loaded("import intake_neurovault") - loaded("")
    assert intake_neurovault.__version__.count(".") == 2
