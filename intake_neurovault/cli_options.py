"""What the commands that search have in common: options, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any, TextIO

import click

import intake_neurovault
from intake_neurovault.cli_output import as_options
from intake_neurovault.cli_types import (
    Cap,
    Condition,
    Several,
    data_dir_option,
    json_option,
)
from intake_neurovault.errors import ArgumentError, UnknownArgumentError
from intake_neurovault.schema import (
    COLLECTION_FIELDS,
    COLLECTION_KINDS,
    IMAGE_FIELDS,
    IMAGE_KINDS,
)
from intake_neurovault.typed_terms import joined, read_terms

if TYPE_CHECKING:
    from intake_neurovault.result import SearchResult

Command = Callable[..., Any]

_mode = click.option(
    "--mode",
    type=click.Choice(["download_new", "overwrite", "offline", "update"]),
    help="What may be asked of the server: never again what is on disk (the "
    "default); everything anew; nothing; only what changed.",
)
_url = click.option(
    "--url",
    metavar="URL",
    help="The server. Default: INTAKE_NEUROVAULT_URL, or neurovault.org.",
)
_hosts = click.option(
    "--trusted-hosts",
    type=Several(),
    metavar="HOST,...",
    help="Accept files from these hosts too.",
)
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to wait for each answer.  [default: 30]",
)
_retries = click.option(
    "--retries",
    type=click.IntRange(min=0),
    metavar="N",
    help="How often a failed request is tried again.  [default: 4]",
)
_workers = click.option(
    "--workers",
    type=click.IntRange(1, 16),
    metavar="N",
    help="How many requests at a time.  [default: 8]",
)
_query = (
    click.argument("entry", metavar="[ENTRY]", required=False),
    click.option(
        "-w",
        "--where",
        "image_where",
        type=Condition(IMAGE_FIELDS, IMAGE_KINDS),
        metavar="CONDITION",
        multiple=True,
        help="Only images that fulfil this; may be repeated, and all must hold.",
    ),
    click.option(
        "--collection-where",
        type=Condition(COLLECTION_FIELDS, COLLECTION_KINDS),
        metavar="CONDITION",
        multiple=True,
        help="Only images in collections that fulfil this; may be repeated.",
    ),
    click.option(
        "--terms",
        type=click.File(encoding="utf-8"),
        metavar="FILE",
        help="More conditions, in YAML or JSON: image_terms and collection_terms as "
        'in a catalog; "-" reads standard input.',
    ),
    click.option(
        "--image-ids", type=Several(), metavar="ID,...", help="Exactly these images."
    ),
    click.option(
        "--collection-ids",
        type=Several(),
        metavar="ID,...",
        help="Images of these collections; env:NAME for the variable with the "
        "token of a private one.",
    ),
    click.option(
        "--max-images",
        type=Cap(),
        metavar="N",
        help='At most so many, or "all".  [default: 100, but all of what is named '
        "by ids]",
    ),
)
_server = (
    _mode,
    click.option(
        "--metadata-ttl",
        metavar="AGE",
        help="How old a list may be before it is asked for again: 12h, 7d.  "
        "[default: 1d]",
    ),
    data_dir_option,
    _url,
    _hosts,
    _timeout,
    _retries,
    _workers,
)
_errors = click.option(
    "--errors",
    type=click.Choice(["raise", "warn", "skip"]),
    help="What a failure does: end at the first; or go on, warning at once or only "
    "telling at the end (the default).",
)


def asking(command: Command) -> Command:
    """Give a command the options of a search.

    Parameters
    ----------
    command : callable
        Takes ``entry`` and the options as keywords.

    Returns
    -------
    callable
        The command.
    """
    return _with(command, *_query, *_server, _errors, json_option)


def looking(command: Command) -> Command:
    """Give a command the options about server and store.

    Parameters
    ----------
    command : callable
        Takes the options as keywords.

    Returns
    -------
    callable
        The command.
    """
    return _with(command, *_server, json_option)


def _with(command: Command, *options: Callable[[Command], Command]) -> Command:
    return reduce(lambda made, option: option(made), reversed(options), command)


def search_for(entry: str | None, given: Mapping[str, Any]) -> SearchResult:
    """Make the search that was asked for; nothing is requested yet.

    Parameters
    ----------
    entry : str or None
        The entry of a catalog to begin with.
    given : mapping
        The values of the options of `asking`; None was not given.

    Returns
    -------
    SearchResult
        The search.

    Raises
    ------
    click.UsageError
        If a value is not what its option takes.
    """
    said = {name: each for name, each in given.items() if each not in (None, ())}
    file: TextIO | None = said.pop("terms", None)
    conditions = {
        "image_terms": said.pop("image_where", ()),
        "collection_terms": said.pop("collection_where", ()),
    }
    try:
        terms = {} if file is None else read_terms(file.read(), file.name)
        for name, typed in conditions.items():
            if (all_of := joined([terms.get(name), *typed])) is not None:
                said[name] = all_of
        if entry is not None:
            return _from_entry(entry, said)
        return intake_neurovault.search(**{"errors": "skip", **said})
    except (ArgumentError, UnknownArgumentError) as error:
        raise click.UsageError(as_options(str(error))) from error
    except UnicodeDecodeError as error:
        msg = f"{file.name if file else 'The input'} is not text in UTF-8."
        raise click.UsageError(msg) from error


def _from_entry(entry: str, said: Mapping[str, Any]) -> SearchResult:
    """Begin with an entry, and narrow it down."""
    result = intake_neurovault.open_entry(entry)
    query, arguments = result.query, {"errors": "skip", **result.to_arguments()}
    own = {
        "image_terms": query.image_filter.to_mapping(),
        "collection_terms": query.collection_filter.to_mapping(),
    }
    both = {name: joined([own[name], said[name]]) for name in own if name in said}
    return intake_neurovault.search(**{**arguments, **said, **both})
