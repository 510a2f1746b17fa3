"""The command line: ``neurovault``.

Shell completion loads this module, so it imports nothing heavy; everything else
is reached through the package's lazy door.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

import intake_neurovault
from intake_neurovault.cli_cache import cache
from intake_neurovault.cli_freeze import freeze_query
from intake_neurovault.cli_output import give_up, remark, speaking
from intake_neurovault.cli_search import fetch_files, list_images
from intake_neurovault.cli_show import show_images
from intake_neurovault.errors import NeuroVaultError

_STOPPED = 130  # what a shell gives for Ctrl-C


class _Commands(click.Group):
    """Commands whose errors are a sentence, not a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            with speaking():
                return super().invoke(ctx)
        except BrokenPipeError:
            # NOTE: click ends quietly when the reader of a pipe has gone.
            raise
        except KeyboardInterrupt as error:
            remark("Stopped; what is finished is kept.")
            raise click.exceptions.Exit(_STOPPED) from error
        except (NeuroVaultError, OSError) as error:
            give_up(str(error))

    def list_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
    ) -> list[str]:
        """Name the commands, in the order in which a newcomer meets them."""
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(intake_neurovault.__version__, prog_name="neurovault")
def main() -> None:
    """Find brain maps on NeuroVault, and have their files once and verified.

    \b
    The way in:
      neurovault demo                                  see it work, offline
      neurovault search -w 'map_type=Z map'            what is there
      neurovault show 10426                            all about one map
      neurovault fetch -w 'map_type=Z map' --max-images 20
      neurovault freeze maps.yaml -w 'map_type=Z map'  the same maps for good

    Each command explains itself: "neurovault search --help". What it downloads lies
    where nilearn and Python find it: intake_neurovault.search(...).

    \b
    Exit codes:
      0    done
      1    nothing matched, or something could not be had; one sentence says what
      2    the command was not understood
      130  stopped by Ctrl-C

    Completion of commands, fields and values: "neurovault completion --help".
    """  # noqa: D301  \b keeps click from filling the lines


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


@click.command("completion", short_help="Complete commands and fields in a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def print_completion(shell: str) -> None:
    """Print the script that completes commands, options, fields and values.

    \b
    For this session, and in the file that the shell reads at its start for good:
      bash  eval "$(neurovault completion bash)"      ~/.bashrc
      zsh   eval "$(neurovault completion zsh)"       ~/.zshrc, after compinit
      fish  neurovault completion fish | source       ~/.config/fish/config.fish

    \b
    Example; then press the tabulator:
      neurovault search --where 'number_of_

    Completing asks no server. Exit code: 0.
    """  # noqa: D301  \b keeps click from filling the lines
    kind = get_completion_class(shell)
    if kind is None:
        give_up(f"Nothing is known of completion in {shell}.")
    made = kind(main, {}, "neurovault", "_NEUROVAULT_COMPLETE")
    # NOTE: `source` would ask the shell for its version, and there may be none.
    click.echo(made.source_template % made.source_vars())


for command in (
    *(list_images, show_images, fetch_files, freeze_query, cache),
    print_completion,
):
    main.add_command(command)
