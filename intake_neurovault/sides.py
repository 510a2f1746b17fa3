"""The left and right surface files of images, fetched: several at a time, each once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intake_neurovault.downloads import Downloads, Item
from intake_neurovault.errors import AnswerError, Failure
from intake_neurovault.hemispheres import HEMISPHERES, Hemisphere
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import Pool, Report
from intake_neurovault.records import Image
from intake_neurovault.surfaces import SurfaceFile, surface_of


@dataclass(frozen=True)
class Sides:
    """The local surface files of some images.

    Examples
    --------
    >>> Sides().paths
    {}
    """

    paths: dict[int, dict[Hemisphere, Path]] = field(default_factory=dict)
    """By image and hemisphere, what could be had, in the order of the images."""
    files: dict[Path, SurfaceFile] = field(default_factory=dict)
    """Which file of the server each of them is."""
    failures: tuple[Failure, ...] = ()
    """What could not be had, and why; the reason names the hemisphere."""


def fetch_sides(
    mirror: Mirror,
    pool: Pool,
    images: Sequence[Image],
    only: Container[tuple[int, Hemisphere | None]] | None = None,
) -> Sides:
    """Make the surface files of images local.

    Parameters
    ----------
    mirror : Mirror
        The server and the store.
    pool : Pool
        How many at a time, and what a failure does.
    images : sequence of Image
        Whose files to fetch; those that have none are passed over.
    only : container of (int, str), optional
        Only the files of these images and hemispheres.

    Returns
    -------
    Sides
        The files, and what failed.

    Raises
    ------
    NeuroVaultError
        Under the policy ``raise``, the first failure; what was fetched before it is
        kept.
    """
    report = pool.report()
    items = list(_items(mirror, images, only, report))
    paths: dict[int, dict[Hemisphere, Path]] = defaultdict(dict)
    files: dict[Path, SurfaceFile] = {}
    with Downloads(mirror, pool).arriving(items, report) as arrived:
        for file, path in arrived:
            if path is not None and isinstance(file, SurfaceFile):
                paths[file.image_id][file.hemisphere] = path
                files[path] = file
    report.warn("fetched")
    return Sides(dict(paths), files, tuple(report.failures))


def _items(
    mirror: Mirror,
    images: Sequence[Image],
    only: Container[tuple[int, Hemisphere | None]] | None,
    report: Report,
) -> Iterator[Item]:
    for image in images:
        for hemisphere in HEMISPHERES:
            if only is not None and (image.id, hemisphere) not in only:
                continue
            try:
                file = surface_of(image, hemisphere, mirror.client.url)
            except AnswerError as error:
                reason = f"{hemisphere.capitalize()} surface of {image.label}: {error}"
                failure = Failure(image.id, image.collection_id, "", reason, 0)
                report.failed(failure, error)
                continue
            if file is not None:
                yield file, image
