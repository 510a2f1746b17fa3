"""``neurovault show``: everything known about a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from intake_neurovault.cli_options import looking, search_for
from intake_neurovault.cli_output import (
    echo_failures,
    echo_json,
    end,
    terminal_width,
    watched,
)
from intake_neurovault.cli_types import ImageId
from intake_neurovault.errors import NeuroVaultError

if TYPE_CHECKING:
    from intake_neurovault.about import About


@click.command("show")
@click.argument("image_ids", metavar="ID...", type=ImageId(), nargs=-1, required=True)
@click.option(
    "--token",
    metavar="env:NAME",
    help="Environment variable with the token of the private collection that the "
    "images are in.",
)
@looking
def show_images(
    image_ids: tuple[int, ...], token: str | None, as_json: bool, **given: Any
) -> None:
    """Show everything known about a map.

    Its record, custom fields apart; its collection; whom to cite, and the licence;
    the addresses on the server; and what is on this disk: the file, whether it is
    verified, on which grids it is kept. Nothing is downloaded but records. ID is
    the number of an image, or the address of its web page.

    \b
    Examples:
      neurovault show 10426
      neurovault show https://neurovault.org/images/10426/
      neurovault show 10426 --mode offline --json

    \b
    Exit codes:
      0  all are shown
      1  something could not be had
      2  the command was not understood
    """  # noqa: D301  \b keeps click from filling the lines
    found: list[About] = []
    failures: list[dict[str, Any]] = []
    for image_id in dict.fromkeys(image_ids):
        wanted: dict[str, Any] = {"image_ids": [image_id]}
        if token:
            wanted = {"collection_ids": [token]}
        try:
            result = search_for(None, {**given, **wanted, "errors": "raise"})
            found.append(result[image_id])
        except (NeuroVaultError, KeyError) as error:
            reason = f"The collection of {token} has no image {image_id}."
            failures.append(
                {
                    "id": image_id,
                    "collection_id": None,
                    "reason": reason if isinstance(error, KeyError) else str(error),
                }
            )
    if as_json:
        echo_json({"images": [each.to_json() for each in found], "failures": failures})
    else:
        columns = terminal_width() if watched() else 80
        click.echo("\n\n".join(each.text(columns) for each in found), nl=bool(found))
    echo_failures(failures)
    end(good=not failures)
