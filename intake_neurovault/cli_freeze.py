"""``neurovault freeze``: what matches now, for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from intake_neurovault.cli_options import asking, search_for
from intake_neurovault.cli_output import (
    as_options,
    echo_failures,
    echo_json,
    end,
    rows_of,
    summed_up,
    watched,
)
from intake_neurovault.cli_types import GridName
from intake_neurovault.errors import ArgumentError

_ENDING = ".lock.json"


@click.command("freeze", short_help="Keep what matches now for good, in a catalog.")
@click.argument("catalog", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Of the entry.  [default: that of FILE]")
@click.option("--overwrite", is_flag=True, help="Replace what was frozen there before.")
@click.option(
    "--grid",
    type=GridName(),
    metavar="GRID",
    help="The grid on which the entry gives maps: mni152-3mm, mni152-2mm, "
    "mni152-1mm, millimetres, a NIfTI file to match, or native.  "
    "[default: mni152-3mm]",
)
@click.option(
    "--interpolation",
    type=click.Choice(["auto", "continuous", "linear", "nearest"]),
    help="How the entry brings maps to the grid.  [default: auto]",
)
@asking
def freeze_query(
    catalog: Path,
    name: str | None,
    overwrite: bool,
    entry: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Write a catalog that gives the same maps and the same table for good.

    Takes the same ENTRY and conditions as "neurovault search", and downloads what is
    missing. FILE ends in .yaml; beside it goes a lock with all records, and with
    address, size and SHA-256 of each file. Both may be moved together. What cannot
    be had is left out, and listed.

    \b
    Examples:
      neurovault freeze hands.yaml -w 'contrast_definition~hand'
      neurovault freeze paper.yaml --collection-ids 1952 --grid mni152-2mm
      neurovault fetch paper.yaml
      neurovault freeze subset.yaml paper.yaml -w 'number_of_subjects>=20'

    In Python: intake.open_catalog("paper.yaml").paper.to_dask().

    \b
    Exit codes:
      0  all that matched is frozen
      1  nothing matched, or something could not be had and was left out
      2  the command was not understood, or FILE is there already
    """  # noqa: D301  \b keeps click from filling the lines
    result = search_for(entry, given)
    try:
        written = result.freeze(catalog, name=name, overwrite=overwrite)
    except ArgumentError as error:
        raise click.UsageError(as_options(str(error))) from error
    lock = written.with_suffix(_ENDING)
    failures = rows_of(result.failures)
    lost = {each["id"] for each in failures}
    frozen = [each for each in result.found.images if each.id not in lost]
    if as_json:
        ids = [each.id for each in frozen]
        files = {"catalog": written, "lock": lock}
        echo_json({**files, "image_ids": ids, "failures": failures})
    elif watched():
        homes = {each.collection_id for each in frozen}
        click.echo(
            f"{written}\n{lock}\n\nFrozen: {summed_up(len(frozen), len(homes))}."
        )
    else:
        click.echo(written)
    echo_failures(failures)
    end(good=not failures)
