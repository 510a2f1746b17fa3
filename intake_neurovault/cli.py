"""The command line: ``neurovault``.

Shell completion loads this module, so it imports nothing heavy; everything else
is reached through the package's lazy door.
"""

from __future__ import annotations

from pathlib import Path

import click

import intake_neurovault
from intake_neurovault.cli_cache import cache
from intake_neurovault.errors import NeuroVaultError


class _Commands(click.Group):
    """Commands whose errors are a sentence, not a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # NOTE: click ends quietly when the reader of a pipe has gone.
            raise
        except (NeuroVaultError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(intake_neurovault.__version__, prog_name="neurovault")
def main() -> None:
    """Brain maps from NeuroVault: query, table, lazy cube."""


@main.command("demo")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("neurovault_demo.png"),
    show_default=True,
    help="Where the picture goes.",
)
def show_demo(output: Path) -> None:
    """Show the main job, without the internet.

    A small NeuroVault-like server is started on this machine; a catalog is opened
    against it, its maps are listed, averaged and drawn. Takes less than a minute.
    """
    intake_neurovault.run_demo(output, click.echo)


main.add_command(cache)
