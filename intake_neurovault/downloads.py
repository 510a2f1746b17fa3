"""Many files at a time: had in the order asked, with an account of what failed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from intake_neurovault.errors import Failure, NeuroVaultError, ServerError
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool, Report
from intake_neurovault.records import Image, ImageFile

_CHECKING = 4  # threads that check what arrived while others ask for more
_WAITING = 4  # files that are done, and wait for one before them to be

Item = tuple[ImageFile, Image | None]
"""A file, and the record that names it, if that is at hand."""


class Supplier(Protocol):
    """Gives local files: the originals, or something made of them."""

    def kept(self, file: ImageFile) -> Path | None:
        """Tell where it is, if no request is needed."""

    def local(
        self,
        file: ImageFile,
        progress: Callable[[int], None] | None = None,
        image: Image | None = None,
    ) -> Path:
        """Give it, asking the server if need be."""


@dataclass(frozen=True)
class Downloads:
    """Makes files local, several at a time, each once."""

    mirror: Mirror
    """The server and the store."""
    pool: Pool
    """How many requests at a time."""
    supplier: Supplier | None = None
    """Who gives the files; None: the mirror, hence the originals."""

    def run(
        self, items: Iterable[Item], report: Report, size: int | None = None
    ) -> dict[int, Path]:
        """Make files local.

        Parameters
        ----------
        items : iterable of (ImageFile, Image or None)
            The files, each with the record that names it, if that is at hand. They
            are taken when they are needed, so that they may still be searched for.
        report : Report
            Takes up what fails.
        size : int, optional
            Bytes of all files, for the progress bar; counted as they come if absent.

        Returns
        -------
        dict of int to pathlib.Path
            The local files by the ids of their images, without what failed.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first failure.
        """
        with self.arriving(items, report, size) as arrived:
            return {file.image_id: path for file, path in arrived if path is not None}

    @contextmanager
    def arriving(
        self, items: Iterable[Item], report: Report, size: int | None = None
    ) -> Generator[Iterator[tuple[ImageFile, Path | None]]]:
        """Make files local, and give each as soon as it and those before it are.

        Parameters
        ----------
        items : iterable of (ImageFile, Image or None)
            As for `run`.
        report : Report
            Takes up what fails.
        size : int, optional
            As for `run`.

        Yields
        ------
        iterator of (ImageFile, pathlib.Path or None)
            The files in their order, None for what failed; under the policy
            ``raise`` the first failure is raised. While one is worked on, the next
            are fetched. Leaving the context waits for what was begun; leaving it by
            an error, or by Ctrl-C, calls that off.
        """

        def ahead() -> int:
            # NOTE: where the server fails, less is asked for in vain.
            return 0 if report.in_a_row else _WAITING

        with self.pool.bar(size or 0, "B") as bar:
            local = _Local(self.supplier or self.mirror, report, bar, Lock())
            wanted = items if size is not None else _counted(items, bar)
            with self.pool.map(local, wanted, spare=_CHECKING, ahead=ahead) as outcomes:
                yield self._paths(outcomes, report)

    def _paths(
        self, outcomes: Iterator[tuple[Item, Path | NeuroVaultError]], report: Report
    ) -> Iterator[tuple[ImageFile, Path | None]]:
        for (file, _), outcome in outcomes:
            if isinstance(outcome, NeuroVaultError):
                report.failed(self._failure(file, outcome), outcome)
                yield file, None
            else:
                report.succeeded()
                yield file, outcome

    def _failure(self, file: ImageFile, error: NeuroVaultError) -> Failure:
        url = self.mirror.client.file_url(file, shown=True)
        ids = file.image_id, file.collection_id
        return Failure(*ids, url, str(error), error.attempts)


def _counted(items: Iterable[Item], bar: Any) -> Iterator[Item]:
    for file, image in items:
        bar.total = (bar.total or 0) + (file.file_size or 0)
        yield file, image


@dataclass(frozen=True)
class _Local:
    """Makes one file local, and shows how much of it has arrived."""

    supplier: Supplier
    report: Report
    bar: Any
    turn: Lock

    def __call__(self, item: Item) -> Path:
        file, image = item
        arrived = 0

        def show(size: int) -> None:
            nonlocal arrived
            arrived += size
            with self.turn:
                self.bar.update(size)

        self._check_hope(file)
        try:
            return self.supplier.local(file, show, image)
        finally:
            show((file.file_size or 0) - arrived)

    def _check_hope(self, file: ImageFile) -> None:
        """Refuse to ask for a file where too much has failed."""
        if self.report.exhausted:
            what = f"{MAX_FAILURES_IN_A_ROW} things in a row"
        elif self.report.given_up(file.collection_id):
            what = f"too many of collection {file.collection_id}"
        else:
            return
        if not self.supplier.kept(file):
            msg = (
                f"The file of image {file.image_id} was not asked for, since {what} "
                "had failed; try again later."
            )
            raise ServerError(msg)
