"""``neurovault search`` and ``neurovault fetch``: what matches, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from intake_neurovault.cli_options import asking, search_for
from intake_neurovault.cli_output import (
    echo_failures,
    echo_json,
    echo_table,
    end,
    remark,
    rows_of,
    summed_up,
    terminal_width,
    watched,
)
from intake_neurovault.cli_types import Several
from intake_neurovault.lettering import wrapped
from intake_neurovault.schema import IMAGE_FIELDS, IMAGE_KINDS
from intake_neurovault.values import suggest

if TYPE_CHECKING:
    from intake_neurovault.records import Collection, Image
    from intake_neurovault.result import SearchResult

_COLUMNS = (
    "id",
    "collection_id",
    "name",
    "map_type",
    "number_of_subjects",
    "collection_name",
)
_STEPS = ("term", "seen", "removed", "alone")
_OF_COLLECTION = "collection."


@click.command("search")
@asking
@click.option(
    "--columns",
    type=Several(IMAGE_FIELDS),
    metavar="FIELD,...",
    help='Which fields to show; collection_name, and "collection.DOI" for a field '
    "of the collection.",
)
@click.option("--no-header", is_flag=True, help="Leave out the names of the columns.")
@click.option(
    "--explain",
    is_flag=True,
    help="Show how many records each condition removed, in place of the images.",
)
def list_images(
    entry: str | None,
    columns: tuple[str, ...] | None,
    no_header: bool,
    explain: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """List the images that match; no map is downloaded.

    On a terminal the table is cut to its width. Elsewhere it is complete, with tabs
    between the columns. ENTRY begins with an entry of a catalog: one that ships
    with this package, such as motor_task, or FILE.yaml:NAME.

    \b
    Conditions (quote them, as the shell has uses of its own for > and !):
      map_type=Z map           equal; 'map_type=Z map,T map' for any of several
      map_type!=Z map          not equal, or none of several
      number_of_subjects>=20   an order: > >= < <=
      name~(?i)faces?          a pattern found anywhere; !~ for nowhere
      name*=face,house         text with all of these; !*= for none
      DOI                      there is a value;  !age  there is none
      {$or: [{..}, {..}]}      anything, as in a catalog

    Without conditions and ids, unthresholded maps in MNI space are listed that are
    no masks, atlases or anatomical images; --where '{}' is for all images.

    \b
    Examples:
      neurovault search -w 'map_type=Z map' -w 'number_of_subjects>=20'
      neurovault search --collection-where DOI -w 'name~(?i)faces?' --json
      neurovault search --collection-ids 1952 --columns id,name,age > maps.tsv
      neurovault search motor_task

    \b
    Exit codes:
      0  something matched
      1  nothing matched, or something could not be had
      2  the command was not understood
    """  # noqa: D301  \b keeps click from filling the lines
    result = search_for(entry, given)
    found = result.found
    if explain:
        _explain(result, as_json=as_json, header=not no_header)
    elif as_json:
        echo_json(_document(result, columns))
    elif found.images:
        names = _checked(columns or _COLUMNS, result)
        rows = [_row(image, result, names) for image in found.images]
        echo_table(names, rows, header=not no_header)
        if watched():
            click.echo("\n" + "\n".join(wrapped(_counted(result), terminal_width())))
    _close(result)


@click.command("fetch", short_help="Download the images that match, each once.")
@asking
@click.option(
    "--surfaces",
    is_flag=True,
    help="Download the files of the left and right hemispheres, of the images that "
    "have them, in place of the volumes.",
)
def fetch_files(entry: str | None, surfaces: bool, as_json: bool, **given: Any) -> None:
    """Download the images that match, each once, and tell where they are.

    Takes the same ENTRY and conditions as "neurovault search". What is on disk is
    not downloaded again; Ctrl-C keeps what is finished, and the next run goes on.
    Files are verified, and nilearn finds them too.

    \b
    Examples:
      neurovault fetch --image-ids 10426,32015
      neurovault fetch -w 'cognitive_paradigm_cogatlas~motor' --max-images 20
      neurovault fetch --collection-ids 658 --data-dir /data --workers 16
      neurovault fetch -w surface_left_file --surfaces

    \b
    Exit codes:
      0    all files are there
      1    nothing matched, or something could not be had
      2    the command was not understood
      130  stopped by Ctrl-C
    """  # noqa: D301  \b keeps click from filling the lines
    result = search_for(entry, given)
    rows = _surface_files(result) if surfaces else _files(result)
    homes = {image.id: image.collection_id for image in result.found.images}
    if as_json:
        files = [
            {"id": each["id"], "collection_id": homes[each["id"]], **each}
            for each in rows
        ]
        echo_json({"files": files, "failures": rows_of(result.failures)})
    elif watched():
        digits = max((len(str(each["id"])) for each in rows), default=0)
        for each in rows:
            click.echo(f"{each['id']:>{digits}}  {each['path']}")
        collections = {homes[each["id"]] for each in rows}
        if rows:
            click.echo(f"\n{summed_up(len(rows), len(collections), 'file')}.")
    else:
        names = ("id", "hemisphere", "path") if surfaces else ("id", "path")
        echo_table(names, [[each[name] for name in names] for each in rows])
    _close(result, had=bool(rows))


def _files(result: SearchResult) -> list[dict[str, Any]]:
    return [{"id": number, "path": path} for number, path in result.fetch().items()]


def _surface_files(result: SearchResult) -> list[dict[str, Any]]:
    return [
        {"id": number, "hemisphere": hemisphere, "path": path}
        for number, paths in result.fetch_surfaces().items()
        for hemisphere, path in paths.items()
    ]


def _explain(result: SearchResult, *, as_json: bool, header: bool) -> None:
    steps = rows_of(result.explain())
    if as_json:
        echo_json({"steps": steps})
        return
    names = _STEPS if watched() else tuple(result.explain().columns)
    echo_table(names, [[step[name] for name in names] for step in steps], header=header)


def _close(result: SearchResult, *, had: bool = True) -> None:
    """Say what is missing, and end; badly if nothing was had."""
    failures, found = rows_of(result.failures), result.found
    if not found.images and not failures:
        explained = "try --explain"
        remark(found.why_empty().replace("look at .explain()", explained))
    echo_failures(failures)
    end(good=had and bool(found.images) and not failures)


def _counted(result: SearchResult) -> str:
    found = result.found
    text = f"{summed_up(len(found.images), len(found.collections))}."
    if found.truncated:
        text += " There may be more: --max-images all gives all that match."
    return text


def _document(result: SearchResult, columns: Sequence[str] | None) -> dict[str, Any]:
    found = result.found
    names = _checked(columns, result) if columns else None
    return {
        "query": result.query.to_json(),
        "listed": found.listed,
        "truncated": found.truncated,
        "images": [
            dict(zip(names, _row(image, result, names), strict=True))
            if names
            else _whole(image, found.collections[image.collection_id])
            for image in found.images
        ],
        "failures": rows_of(result.failures),
    }


def _whole(image: Image, collection: Collection) -> dict[str, Any]:
    core = {field.name: image.metadata.get(field.name) for field in IMAGE_FIELDS}
    return {**core, "collection_name": collection.name, **image.extra}


def _row(image: Image, result: SearchResult, names: Sequence[str]) -> list[object]:
    collection = result.found.collections[image.collection_id]
    known: dict[str, Mapping[str, object]] = {
        name: collection.metadata if name.startswith(_OF_COLLECTION) else image.metadata
        for name in names
    }
    row = [known[name].get(name.removeprefix(_OF_COLLECTION)) for name in names]
    return [
        collection.name if name == "collection_name" else value
        for name, value in zip(names, row, strict=True)
    ]


def _checked(names: Sequence[str], result: SearchResult) -> Sequence[str]:
    """Refuse columns that nothing has."""
    found = result.found
    own = {"collection_name", *IMAGE_KINDS}
    for image in found.images:
        own.update(image.metadata)
    for collection in found.collections.values():
        own.update(f"{_OF_COLLECTION}{name}" for name in collection.metadata)
    for name in names:
        if name not in own and found.images:
            near = suggest(name, own)
            hint = f"did you mean {near!r}?" if near else "custom fields count too."
            msg = f"--columns: no image here has a field {name!r}; {hint}"
            raise click.UsageError(msg)
    return names
