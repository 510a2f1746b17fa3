"""``neurovault cache``: look after the local store from the command line."""

from __future__ import annotations

from typing import Any

import click

import intake_neurovault
from intake_neurovault import cli_text
from intake_neurovault.cli_output import echo_json, echo_lines, end
from intake_neurovault.cli_types import data_dir_option, json_option

collections_option = click.option(
    "--collection",
    "collection_ids",
    type=click.IntRange(min=1),
    metavar="ID",
    multiple=True,
    help="Only this collection; may be repeated.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(1, 16),
    default=8,
    show_default=True,
    help="How many files at a time.",
)


@click.group()
def cache() -> None:
    """Look after the maps on this disk.

    Maps are kept in nilearn's data folder, and nilearn finds them there too. Files
    that are not NeuroVault's by name are never touched.
    """


@cache.command("info")
@data_dir_option
@click.option(
    "--collection",
    "collection_id",
    type=click.IntRange(min=1),
    metavar="ID",
    help="Only this collection.",
)
@click.option("--collections", is_flag=True, help="One line for each collection.")
@json_option
def show_info(
    data_dir: str | None, collection_id: int | None, collections: bool, as_json: bool
) -> None:
    """Tell what is there: images, sizes, how many are verified.

    Makes no request and changes nothing.

    \b
    Examples:
      neurovault cache info
      neurovault cache info --collections
      neurovault cache info --collection 1952

    Exit code: 0, also where there is no store yet.
    """  # noqa: D301  \b keeps click from filling the lines
    holdings = intake_neurovault.Cache.parse(data_dir).info(collection_id)
    if as_json:
        echo_json(holdings.to_json())
    elif not holdings.exists:
        echo_lines(cli_text.no_store(holdings.root))
    elif collection_id is not None and not holdings.files:
        text = f"Collection {collection_id} is not in the store {holdings.root}."
        echo_lines(cli_text.filled(text))
    elif collections:
        echo_lines(cli_text.collection_lines(holdings))
    else:
        echo_lines(cli_text.holdings_lines(holdings))


@cache.command("verify")
@data_dir_option
@collections_option
@workers_option
@click.option("--dry-run", is_flag=True, help="Only look: move and note nothing.")
@json_option
def verify_files(
    data_dir: str | None,
    collection_ids: tuple[int, ...],
    workers: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Read every file to its end and report what is damaged.

    Damaged files are moved to a quarantine inside the store, and whole ones are
    noted, so that they need no check when they are used next. Maps on a grid can be
    made again, so that damaged ones are removed. Makes no request.

    \b
    Examples:
      neurovault cache verify
      neurovault cache verify --collection 1952 --dry-run

    \b
    Exit codes:
      0  every file is whole
      1  something is damaged, changed or missing; see "neurovault cache repair"
      2  the command was not understood
    """  # noqa: D301  \b keeps click from filling the lines
    found = intake_neurovault.Cache.parse(data_dir, workers=workers).verify(
        collection_ids=collection_ids or None, dry_run=dry_run
    )
    if as_json:
        echo_json(found.to_json())
    elif not found.exists:
        echo_lines(cli_text.no_store(found.root))
    else:
        echo_lines(cli_text.checkup_lines(found))
        if not found.whole:
            click.echo('To fetch what is lost: "neurovault cache repair".')
    end(good=found.whole)


@cache.command("repair")
@data_dir_option
@collections_option
@click.option(
    "--token",
    "tokens",
    metavar="env:NAME",
    multiple=True,
    help="Environment variable with the token of a private collection; may be "
    "repeated.",
)
@click.option(
    "--url", help="The server. Default: INTAKE_NEUROVAULT_URL, or neurovault.org."
)
@click.option(
    "--trusted-host",
    "trusted_hosts",
    metavar="HOST",
    multiple=True,
    help="Accept files from this host too; may be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds to wait for each answer.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="How often a failed request is tried again.",
)
@workers_option
@json_option
def repair_files(
    data_dir: str | None,
    collection_ids: tuple[int, ...],
    as_json: bool,
    workers: int,
    **server: Any,
) -> None:
    """Verify, then fetch again what is damaged or missing.

    Needs the server, if anything is. Damaged copies, and images whose bytes are not
    those that were downloaded, stay in the quarantine until "neurovault cache clear
    --quarantine".

    \b
    Examples:
      neurovault cache repair
      neurovault cache repair --collection 1952
      neurovault cache repair --token env:MY_TOKEN

    \b
    Exit codes:
      0  every file is whole now
      1  something could not be had; it is listed with the reason
      2  the command was not understood
    """  # noqa: D301  \b keeps click from filling the lines
    done = intake_neurovault.Cache.parse(data_dir, workers=workers).repair(
        collection_ids=collection_ids or None, **server
    )
    if as_json:
        echo_json(done.to_json())
    elif not done.before.exists:
        echo_lines(cli_text.no_store(done.before.root))
    else:
        echo_lines(cli_text.repair_lines(done))
    end(good=done.whole)


@cache.command("clear")
@data_dir_option
@collections_option
@click.option(
    "--older-than",
    metavar="AGE",
    help="Only what was downloaded so long ago: 90d, 12h, 2w.",
)
@click.option(
    "--derived",
    is_flag=True,
    help="Only what can be made again without the network, such as resampled "
    "copies of images that are there.",
)
@click.option(
    "--listings",
    is_flag=True,
    help="Only the server's lists; they are asked for again when needed.",
)
@click.option(
    "--quarantine", is_flag=True, help="Only damaged files that were set aside."
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All maps, records, listings and the quarantine.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@json_option
def clear_files(
    data_dir: str | None, dry_run: bool, yes: bool, as_json: bool, **chosen: Any
) -> None:
    """Remove maps, or what belongs to them, from this disk.

    Shows what would go, and asks. Choose collections, an age, or kinds of files;
    together, only what fits all goes. A collection goes with its listing, so that
    offline it is as if it had never been fetched; by age alone, listings stay.
    Your own files stay, and so does the folder that they are in.

    \b
    Examples:
      neurovault cache clear --collection 1952
      neurovault cache clear --older-than 90d --dry-run
      neurovault cache clear --quarantine --yes

    \b
    Exit codes:
      0  done, or nothing to do
      1  not confirmed, or something had to stay; it is listed
      2  the command was not understood
    """  # noqa: D301  \b keeps click from filling the lines
    chosen["collection_ids"] = chosen["collection_ids"] or None
    if not any(chosen.values()):
        msg = (
            "Say what to remove: --collection, --older-than, --derived, --listings, "
            "--quarantine or --all."
        )
        raise click.UsageError(msg)
    if as_json and not (yes or dry_run):
        msg = "--json does not ask; pass --yes too, or --dry-run."
        raise click.UsageError(msg)
    plan = intake_neurovault.Cache.parse(data_dir).plan(**chosen)
    if not as_json:
        echo_lines(cli_text.plan_lines(plan))
    if dry_run or not plan.items:
        if as_json:
            echo_json({"dry_run": dry_run, **plan.to_json()})
        end(good=dry_run or not plan.left)
        return
    if not yes:
        click.confirm("Remove them?", abort=True)
    done = plan.carry_out()
    if as_json:
        echo_json({"dry_run": False, **done.to_json()})
    else:
        echo_lines(cli_text.cleared_lines(plan, done))
    end(good=not done.left)
