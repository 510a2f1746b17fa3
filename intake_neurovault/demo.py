"""The main job in one go, without the internet: from a catalog to a picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import intake
from matplotlib.figure import Figure

from intake_neurovault import accessor
from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.errors import ArgumentError
from intake_neurovault.testing import NeuroVaultServer

# NOTE: importing `accessor` registers `.nii`, which draws the picture below.
__all__ = ["accessor", "run_demo"]

CATALOG = """\
sources:
  motor_maps:
    driver: neurovault
    description: Unthresholded motor maps of groups
    args:
      image_terms:
        cognitive_paradigm_cogatlas: {$contains: motor}
        map_type: [Z map, T map]
        number_of_subjects: {$gte: "{{ min_subjects }}"}
        is_thresholded: false
        not_mni: false
      url: %(url)s
      data_dir: "{{ CATALOG_DIR }}/nilearn_data"
    parameters:
      min_subjects: {description: smallest group, type: int, default: 20}
"""
"""The catalog of the demonstration; ``%(url)s`` stands for the server."""

_COLUMNS = ["id", "name", "map_type", "number_of_subjects"]

_EPILOGUE = """\
The same against neurovault.org: leave `url:` out of the catalog, or use the
catalog that ships with the package:

    import intake
    cat = intake.cat.neurovault
    list(cat)                                  # what there is
    src = cat.motor_task()                     # nothing requested yet
    src.df                                     # the table: metadata only
    src.read().maps[0].nii.plot_glass_brain()  # downloads once, then from disk
"""


def run_demo(output: Path, say: Callable[[str], None]) -> Path:
    """Run the main job against the embedded server.

    Parameters
    ----------
    output : pathlib.Path
        Where the picture goes, a PNG.
    say : callable
        Called with each piece of text for the reader.

    Returns
    -------
    pathlib.Path
        The picture.

    Raises
    ------
    ArgumentError
        If the folder of the picture does not exist.
    RuntimeError
        If the second run makes a request, which it must not.

    Examples
    --------
    >>> said = []
    >>> run_demo(Path("demo.png"), said.append).is_file()
    True
    >>> "Requests made by the second run: 0" in said
    True
    """
    if not output.parent.is_dir():
        msg = (
            f"The picture cannot be written to {output}: there is no folder "
            f"{output.parent}; make it, or pass another output."
        )
        raise ArgumentError(msg)
    began = perf_counter()
    with TemporaryDirectory() as folder, _no_proxy(), NeuroVaultServer() as server:
        catalog = Path(folder) / "demo.yaml"
        catalog.write_text(CATALOG % {"url": server.url}, encoding="utf-8")
        _heading(say, "A catalog (a NeuroVault-like server runs on this machine)")
        say(catalog.read_text("utf-8").rstrip())
        _show(catalog, server, output, say)
        _repeat(catalog, server, say)
    say(f"Everything took {perf_counter() - began:.1f} s.")
    _heading(say, "Next")
    say(_EPILOGUE)
    return output


def _show(
    catalog: Path, server: NeuroVaultServer, output: Path, say: Callable[[str], None]
) -> None:
    source = intake.open_catalog(str(catalog)).motor_maps()
    _heading(say, "source.df  (one row per image; no voxels yet)")
    say(_table(source))

    dataset = source.to_dask()
    _heading(say, "source.to_dask()  (lazy: still no voxels)")
    say(str(dataset))
    _files_requested(server, say)

    _heading(say, "The mean map of the larger groups")
    large = dataset.maps.sel(image=dataset.number_of_subjects >= 30)
    mean = large.mean("image").compute()
    say(f"{large.sizes['image']} of {dataset.sizes['image']} maps averaged.")
    _files_requested(server, say)
    # NOTE: a figure of its own leaves pyplot, and the caller's screen, alone.
    figure = Figure(figsize=(8, 3.2))
    mean.nii.plot_glass_brain(
        figure=figure,
        title="left vs right button press, mean",
        threshold=2,
        colorbar=True,
        plot_abs=False,
    )
    figure.savefig(output, format="png", dpi=150)
    say(f"The picture is in {output}")


def _repeat(
    catalog: Path, server: NeuroVaultServer, say: Callable[[str], None]
) -> None:
    _heading(say, "The same again, from the catalog file on")
    server.clear_requests()
    again = intake.open_catalog(str(catalog)).motor_maps().to_dask()
    again.maps.sel(image=again.number_of_subjects >= 30).mean("image").compute()
    count = len(server.requests)
    say(f"Requests made by the second run: {count}")
    if count:
        msg = f"The second run made {count} requests where none is needed."
        raise RuntimeError(msg)


@contextmanager
def _no_proxy() -> Iterator[None]:
    # NOTE: many institutes set a proxy for everything; it cannot reach the server on
    # this machine.
    before = os.environ.get("no_proxy")
    others = before or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = f"{others},127.0.0.1" if others else "127.0.0.1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["no_proxy"]
        else:
            os.environ["no_proxy"] = before


def _heading(say: Callable[[str], None], text: str) -> None:
    say(f"\n== {text} ==\n")


def _table(source: NeuroVaultSource) -> str:
    table = source.df[_COLUMNS]
    first = table.head(8)
    shown = first.to_string(index=False)
    return f"{shown}\n... the first {len(first)} of {len(table)} rows"


def _files_requested(server: NeuroVaultServer, say: Callable[[str], None]) -> None:
    files = sum(1 for each in server.requests if each.path.startswith("/media/"))
    say(f"\nFiles requested so far: {files}")
