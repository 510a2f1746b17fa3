"""How the command line speaks: results on one stream, remarks on the other."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from intake_neurovault.errors import NeuroVaultWarning
from intake_neurovault.lettering import printable, wrapped
from intake_neurovault.strictness import strict_json
from intake_neurovault.text_tables import fitted, tabbed

if TYPE_CHECKING:
    import pandas as pd

# The arguments that messages name, and that are options here; with a value, or before
# the end of a word.
_NAMES = (
    *("image_ids", "collection_ids", "max_images", "mode", "data_dir", "metadata_ttl"),
    *("url", "trusted_hosts", "timeout", "retries", "workers", "errors", "grid"),
    *("interpolation", "overwrite", "name"),
)
_OPTION = re.compile(
    rf"\b({'|'.join(_NAMES)})="
    r"('[^']*'|\"[^\"]*\"|\[[^\]]*\]|None\b|True\b|[0-9.]*[0-9]\b|(?=[.,;:)]*(?:\s|$)))"
)
_HANDFUL = 20  # failures that are told one by one
_PLAIN_VALUES = {"None": "all", "True": ""}


def as_options(text: str) -> str:
    """Name options where a message names arguments of Python.

    Parameters
    ----------
    text : str
        The message.

    Returns
    -------
    str
        One line that does not steer the terminal.

    Examples
    --------
    >>> as_options("run once without mode='offline', or pass another data_dir=.")
    'run once without --mode offline, or pass another --data-dir.'
    """
    return printable(_OPTION.sub(_option, text))


def _option(found: re.Match[str]) -> str:
    value = _PLAIN_VALUES.get(found[2], found[2].strip("'\"[]"))
    name = f"--{found[1].replace('_', '-')}"
    return f"{name} {value}" if value else name


class _Remarks(logging.Handler):
    """Puts what is logged as a warning among the remarks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        remark(f"Warning: {record.getMessage()}")


@contextmanager
def speaking() -> Iterator[None]:
    """Show warnings as one line each, and letters that a terminal lacks as escapes.

    Yields
    ------
    None
        Meanwhile.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logger, handler = logging.getLogger("intake_neurovault"), _Remarks(logging.WARNING)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", NeuroVaultWarning)
            warnings.showwarning = partial(_warn, warnings.showwarning)
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _warn(
    usual: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *where: Any,
) -> None:
    if issubclass(category, NeuroVaultWarning):
        remark(f"Warning: {message}")
    else:
        usual(message, category, *where)


def remark(text: str) -> None:
    """Say something that is no part of the result.

    Parameters
    ----------
    text : str
        One sentence.
    """
    click.echo(as_options(text), err=True)


def watched() -> bool:
    """Tell whether somebody looks at the result, or another program reads it.

    Returns
    -------
    bool
        Whether it goes to a terminal.
    """
    return sys.stdout.isatty()


def terminal_width() -> int:
    """Tell how wide the terminal is.

    Returns
    -------
    int
        Columns; 80 where nothing tells.
    """
    return max(shutil.get_terminal_size((80, 24)).columns, 20)


def echo_lines(lines: Iterable[str]) -> None:
    """Give a result line by line.

    Parameters
    ----------
    lines : iterable of str
        The lines.
    """
    for line in lines:
        click.echo(line)


def echo_json(content: object) -> None:
    """Give a result to a machine.

    Parameters
    ----------
    content : object
        What `strict_json` can write.
    """
    click.echo(strict_json(content))


def echo_table(
    names: Sequence[str], rows: Sequence[Sequence[object]], *, header: bool = True
) -> None:
    """Give a table: fitted where somebody looks, else in full between tabs.

    Parameters
    ----------
    names : sequence of str
        The columns.
    rows : sequence of sequence
        Their values.
    header : bool
        Whether the names stand above.
    """
    if not watched():
        lines: Iterable[str] = tabbed([names, *rows] if header else rows)
        echo_lines(lines)
        return
    lines, left_out = fitted(names, rows, terminal_width())
    echo_lines(lines if header else lines[1:])
    if left_out:
        remark(
            f"No room for {_count(left_out, 'more column')}; --columns chooses others, "
            "and --json gives all."
        )


def echo_failures(failures: Sequence[Mapping[str, Any]]) -> None:
    """Say what could not be had, and why.

    Parameters
    ----------
    failures : sequence of mapping
        Rows of ``.failures``.
    """
    if not failures:
        return
    click.echo(f"{_count(len(failures), 'thing')} could not be had:", err=True)
    for each in failures[:_HANDFUL]:
        click.echo(f"  {_subject(each)}", err=True)
        for line in wrapped(as_options(each["reason"]), terminal_width() - 4):
            click.echo(f"    {line}", err=True)
    if len(failures) > _HANDFUL:
        more = len(failures) - _HANDFUL
        click.echo(f"  and {more:,} more; --json lists all.", err=True)


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table in the types of JSON.

    Parameters
    ----------
    table : pandas.DataFrame
        The table.

    Returns
    -------
    list of dict
        One for each row; what is null is None.
    """
    # NOTE: pandas writes its own null as one that JSON has.
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records"))
    return found


def summed_up(images: int, collections: int, what: str = "image") -> str:
    """Count what was found.

    Parameters
    ----------
    images, collections : int
        How many.
    what : str
        What the first are.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> summed_up(1, 1), summed_up(2000, 3, "file")
    ('1 image in 1 collection', '2,000 files in 3 collections')
    """
    return f"{_count(images, what)} in {_count(collections, 'collection')}"


def end(*, good: bool) -> None:
    """End with exit code 1, unless all is good.

    Parameters
    ----------
    good : bool
        Whether it is.
    """
    if not good:
        raise click.exceptions.Exit(1)


def give_up(text: str) -> NoReturn:
    """End with one sentence.

    Parameters
    ----------
    text : str
        The sentence.
    """
    raise click.ClickException(as_options(text))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _subject(failure: Mapping[str, Any]) -> str:
    image, collection = failure["id"], failure["collection_id"]
    if image is None:
        return "a list" if collection is None else f"collection {collection}"
    return f"image {image}" + (f" (collection {collection})" if collection else "")
