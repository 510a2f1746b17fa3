"""How the site is built: ``sphinx-build docs FOLDER``, without the internet.

What the site shows as outputs is made by the code that it shows, against a server on
this machine: by the tests where ``INTAKE_NEUROVAULT_MADE`` says so, else here. It is
kept in ``docs/made``, and made again for a page or notebook that is newer.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

import click
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent
MADE = HERE / "made"
NOTEBOOK = re.compile(r"\]\((?:\.\./)?examples/(\w+\.ipynb)")
sys.path.insert(0, str(HERE.parent / "tests"))

import notebooks  # noqa: E402
import pages  # noqa: E402

from intake_neurovault.cli import main  # noqa: E402

project = "intake-neurovault"
copyright = "the authors of intake-neurovault, BSD-3-Clause"
version = release = installed_version(project)

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
]
templates_path = ["_templates"]
exclude_patterns = ["README.md"]
nitpicky = True
# What is not documented here is not linked: there is no internet while this is built.
nitpick_ignore_regex = [
    ("py:.*", r"(nilearn|numpy|re|sklearn)(\..*)?"),
    ("py:.*", r"(.*\.)?parse_grid|intake_neurovault\.resampling"),
]
default_role = "py:obj"
# Cells of notebooks that write files are not Python.
suppress_warnings = ["misc.highlighting_failure"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    # Methods of our own bases are shown, those of the packages below us are not.
    "inherited-members": "object, BaseException, DataSource, Catalog, "
    "AbstractFileSystem, ChainedFileSystem, BaseReader, BaseData, BaseConverter, "
    "Service",
}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

html_theme = "pydata_sphinx_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["origin.html"],
    "footer_center": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}

# ---- what is made before the pages are read ----------------------------------


def make(app: Sphinx) -> None:
    """Run pages and notebooks that nobody has run, and ask the commands for help."""
    environment = dict(os.environ)
    for page in pages.runnable():
        if pages.can_run(page) and is_older(told(page.stem), page):
            wrong = pages.run(page, told(page.stem).parent, environment)
            if wrong:
                raise RuntimeError(wrong)
    for notebook in notebooks.ALL:
        kept = MADE / "examples" / notebook.name
        if is_older(kept, notebook):
            notebooks.run(notebook, kept, environment)
    write(MADE / "command_line.md", command_line())
    changes = (HERE.parent / "CHANGELOG.md").read_text("utf-8")
    write(MADE / "changelog.md", changes.replace("](docs/", "](/"))


def write(target: Path, text: str) -> None:
    """Write a page, if it is another one."""
    if not target.exists() or target.read_text("utf-8") != text:
        target.write_text(text, "utf-8")


def is_older(made: Path, source: Path) -> bool:
    """Whether something is absent, or older than what it is made of."""
    return not made.exists() or made.stat().st_mtime < source.stat().st_mtime


def told(name: str) -> Path:
    """Give the file that says what the blocks of a page printed and drew."""
    return MADE / "pages" / name / pages.TOLD


def command_line() -> str:
    """Write the reference of the command line, as its commands explain themselves."""
    parts = [
        "# Command line",
        "What each command says with `--help`.",
        *sections("neurovault", main, None),
    ]
    return "\n\n".join(parts) + "\n"


def sections(
    path: str, command: click.Command, parent: click.Context | None
) -> list[str]:
    """Write a command and its subcommands."""
    context = click.Context(
        command,
        parent=parent,
        info_name=path.rpartition(" ")[2],
        terminal_width=80,
        **command.context_settings,
    )
    found = [f"## {path}", f"```text\n{command.get_help(context)}\n```"]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                found += sections(f"{path} {name}", child, context)
    return found


# ---- what becomes of a page's text -------------------------------------------


def dress(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what a page's code printed and drew below it; lead links to this site."""
    text = NOTEBOOK.sub(r"](/made/examples/\1", source[0])
    if name.startswith("made/examples/"):
        text = text.replace("](../docs/", "](/")
    outcome = told(name)
    if outcome.exists():
        text = with_outcome(text, name, json.loads(outcome.read_text("utf-8")))
    source[0] = text


def with_outcome(text: str, name: str, outcome: dict[str, dict[str, object]]) -> str:
    """Write outputs and pictures below the blocks that they are of."""
    ends = [match.end() for match in pages.FENCE.finditer(text)]
    for number, end in reversed([*enumerate(ends)]):
        found = outcome.get(str(number), {})
        below = ""
        if found.get("text"):
            below += f"\n\n```{{code-block}} text\n:class: output\n\n{found['text']}```"
        for picture in found.get("pictures", ()):  # type: ignore[attr-defined]
            below += f"\n\n![Drawn by the code above](/made/pages/{name}/{picture})"
        text = text[:end] + below + text[end:]
    return text


def leave(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: Element
) -> Element | None:
    """Show names in single quotes that lead nowhere, such as arguments, as they are."""
    return shown if node["reftype"] == "obj" else None


def setup(app: Sphinx) -> None:
    """Join this to Sphinx."""
    app.connect("missing-reference", leave)
    app.connect("builder-inited", make, priority=1)
    app.connect("source-read", dress)
