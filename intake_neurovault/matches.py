"""The images that match a query: deferred, countable, comparable."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd

from intake_neurovault.about import About
from intake_neurovault.catalog_files import write_catalog
from intake_neurovault.cube import Chunks
from intake_neurovault.errors import Failure, FilterError, NeuroVaultError
from intake_neurovault.forks import PerProcess
from intake_neurovault.found import Aftermath, Found
from intake_neurovault.knowledge import everything_about
from intake_neurovault.nifti import Reader
from intake_neurovault.portrait import Portrait
from intake_neurovault.query import DEFAULTS, Query
from intake_neurovault.records import Image
from intake_neurovault.refs import parse_id
from intake_neurovault.tables import failure_table, image_table, step_table
from intake_neurovault.vault import Vault

logger = logging.getLogger(__name__)

Predicate = Callable[[Mapping[str, Any]], bool]
"""A condition on metadata that only Python can express."""

_CAPPED = "Stopped at the first %d images; max_images=None gives all that match."


class Matches:
    """The images that match a query: deferred, countable, comparable.

    Metadata is requested when somebody looks at the first time.

    Parameters
    ----------
    query : Query
        What to look for.
    reader : Reader
        How to read a map.
    vault : Vault
        Where from, where to, how hard to try.
    chunks : int or "auto"
        How many maps one dask task reads.
    predicate : callable, optional
        A condition that only Python can express; it can not be written down.
    settings : tuple of (str, value)
        The arguments of `search` about chunks and vault that are not defaults.
    """

    def __init__(
        self,
        query: Query,
        reader: Reader,
        vault: Vault,
        *,
        chunks: Chunks = "auto",
        predicate: Predicate | None = None,
        settings: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        self.query = query
        self.reader = reader
        self.vault = vault
        self._chunks = chunks
        self._predicate = predicate
        self._settings = settings
        self._words_url = dict(settings).get("words_url") or None
        self._lock = PerProcess(threading.Lock)
        self._found: Found | None = None
        self._later = Aftermath()
        self._raised: tuple[Failure, ...] = ()
        self._matched: int | None = None

    @property
    def found(self) -> Found:
        """The outcome of the search, which runs at the first look."""
        with self._lock.get():
            if self._found is None:
                self._found = self._search()
            return self._found

    def __len__(self) -> int:
        return len(self.found.images)

    def __bool__(self) -> bool:
        # NOTE: truth must not cost a request; `len(result)` counts.
        return True

    def __iter__(self) -> Iterator[Image]:
        return iter(self.found.images)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.keys()

    def __getitem__(self, image_id: object) -> About:
        wanted = parse_id(image_id)
        for image in self.found.images:
            if image.id == wanted:
                collection = self.found.collections[image.collection_id]
                return everything_about(self.vault.mirror, image, collection)
        msg = f"Image {wanted} is not in this result; .keys() lists what is."
        raise KeyError(msg)

    def keys(self) -> list[int]:
        """List the ids of the images.

        Returns
        -------
        list of int
            In the order of the result.
        """
        return [image.id for image in self.found.images]

    @property
    def df(self) -> pd.DataFrame:
        """The images as a table: one row each, the core metadata typed.

        The columns of the core schema come first and are always there, whole
        numbers as ``Int64``, truth values as ``boolean``, dates in UTC; custom
        fields of the images follow as they came.
        """
        return image_table(self.found.images, self.found.collections)

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had, and why: one row for each image or page.

        After a search that raised, what that had come to; it does not search again.
        """
        if self._found is None and self._raised:
            return failure_table(self._raised)
        return failure_table(self._failed())

    def _failed(self) -> list[Failure]:
        return [*self.found.failures, *self._later.rows()]

    @property
    def listed(self) -> datetime | None:
        """When the server gave the oldest listing that was used, in UTC.

        None if none was needed, or, offline, if there never was a whole one.
        """
        return self.found.moment

    def missing(self) -> list[int]:
        """List the images whose file is not on disk; nothing is requested.

        Returns
        -------
        list of int
            Their ids, in the order of the result: what `fetch` would download,
            besides what turns out to be damaged or, in the modes ``update`` and
            ``overwrite``, old.
        """
        has = self.vault.mirror.has
        return [
            image.id
            for image in self.found.images
            if image.file is None or not has(image.file)
        ]

    def explain(self) -> pd.DataFrame:
        """Tell what each term did, and which to blame if nothing is left.

        Returns
        -------
        pandas.DataFrame
            One row for each term, in the order in which they are applied:

            - ``term``, in words;
            - ``applied_to``: ``"collections"`` or ``"images"``, which is what the
              numbers count;
            - ``judged_by``: ``"index"`` where the local index answered,
              ``"Python"`` where records were read, or ``"your function"``;
            - ``seen``, how many records had passed all terms before;
            - ``removed``, how many of these it removed;
            - ``alone``, how many it would remove if it were the only term;
            - ``to_blame``: True for one term of a result that is empty, the one to
              relax first.

            A refined result shows the terms of the first search, then its own.
        """
        return step_table(self.found.steps, self.found.blame)

    def close(self) -> None:
        """Forget what was found; the next look searches again."""
        with self._lock.get():
            self._found, self._later, self._raised = None, Aftermath(), ()
            self._matched = None
            self.vault = self.vault.renewed()

    def to_arguments(self) -> dict[str, Any]:
        """Give the arguments of `search` that describe this result.

        Returns
        -------
        dict
            Plain values that YAML and JSON can hold; defaults are left out.

        Raises
        ------
        FilterError
            If a condition is a Python function.
        ArgumentError
            If a private collection's token is given literally.
        """
        how = self._how()
        lock, query = self.vault.lock, self.query
        what = query.to_arguments() if lock is None else lock.written(query)
        return {**what, **how}

    def _how(self) -> dict[str, Any]:
        """Give the arguments of `search` that do not say what to look for."""
        if self._predicate is not None:
            msg = (
                "A Python function cannot be written down; express image_terms with "
                "the operators of the filter grammar, such as {'$gte': 20}."
            )
            raise FilterError(msg)
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._settings
        }
        return {**self.reader.to_arguments(), **settings}

    def to_intake(
        self,
        path: str | PathLike[str],
        *,
        version: Literal[1, 2] = 1,
        name: str | None = None,
        description: str = "",
    ) -> Path:
        """Write the query down as a catalog that intake opens.

        It is the query that is written, not what it has found.

        Parameters
        ----------
        path : path
            A local file, whose name ends in ``.yaml`` or ``.yml``; one that is there
            is replaced.
        version : {1, 2}
            Of intake's catalogs: 1 for the short form, to be read and changed by hand,
            2 for intake's readers and pipelines. Keep the two in different folders.
        name : str, optional
            The name of the entry; that of the file if absent.
        description : str
            What is said about it.

        Returns
        -------
        pathlib.Path
            The file; ``intake.open_catalog(file)[name]`` is the entry.

        Raises
        ------
        FilterError
            If a condition is a Python function.
        ArgumentError
            If a private collection's token is given literally, or an argument cannot
            be that.
        StoreError
            If the file cannot be written.
        """
        arguments = self.to_arguments()
        return write_catalog(
            path, arguments, version=version, name=name, description=description
        )

    def _holding(
        self,
        query: Query,
        found: Found,
        reader: Reader | None = None,
        chunks: Chunks | None = None,
        predicate: Predicate | None = None,
    ) -> Self:
        chunks = self._chunks if chunks is None else chunks
        settings = dict(self._settings) | {"chunks": chunks}
        if chunks == DEFAULTS["chunks"]:
            del settings["chunks"]
        errors = self.vault.pool.errors
        # NOTE: ids have another policy by default; this result keeps the one it had.
        if errors != ("raise" if query.explicit else "warn"):
            settings["errors"] = errors
        new = type(self)(
            query,
            reader or self.reader,
            self.vault,
            chunks=chunks,
            predicate=predicate or self._predicate,
            settings=tuple((n, settings[n]) for n in DEFAULTS if n in settings),
        )
        new._found = found
        return new

    @property
    def _known(self) -> Found | None:
        # NOTE: what is frozen is known without a search.
        return self.found if self.vault.lock else self._found

    def _has_all(self) -> bool:
        found = self._known
        return found is not None and self.query.max_images != 0 and not found.truncated

    def _identity(self) -> tuple[object, ...]:
        predicate = None if self._predicate is None else id(self._predicate)
        how = (self._chunks, self._words_url, predicate)
        return (self.query, self.reader, self.vault, *how)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Matches) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getstate__(self) -> dict[str, Any]:
        # NOTE: whoever receives a copy finds again, in the store, what was found.
        return {**vars(self), "_lock": PerProcess(threading.Lock), "_found": None}

    def __dask_tokenize__(self) -> tuple[object, ...]:
        pool = self.vault.pool
        return ("SearchResult", self._token(), self._words_url, pool, self._predicate)

    def __repr__(self) -> str:
        count = self._count_in_words()
        return f"<{type(self).__name__}: {count}; {self.query.describe()}>"

    def _count_in_words(self) -> str:
        lock, found = self.vault.lock, self._known
        number = len(found.images) if found else None
        count = {None: "not searched yet", 1: "1 image"}.get(number, f"{number} images")
        since = f", frozen {lock.day}" if lock else ""
        return f"{count}{since}{self._age()}"

    def _age(self) -> str:
        """Say how old a list is and what is not here, where nothing may be asked."""
        if self._known is None or not self.vault.mirror.offline:
            return ""
        when = f"{self.listed:%Y-%m-%d %H:%M} UTC" if self.listed else "never"
        absent = len(self.missing())
        here = f"{absent} of them not on disk" if absent else "all on disk"
        return f", {here}; last listed {when}"

    def _repr_html_(self) -> str:
        client = self.vault.mirror.client
        failed = self._raised if self._known is None else self._failed()
        return Portrait(
            heading=self._count_in_words(),
            wanted=self.query.describe(),
            found=self._known,
            failures=failed,
            url=client.url,
            trusted_hosts=client.trusted_hosts,
            # NOTE: offline, not even the browser is made to ask.
            pictures=not self.vault.mirror.offline,
        ).html()

    def _search(self) -> Found:
        with self._keeping_account():
            found = self.vault.search(self.query, self._predicate)
        self._tell_of_cap(found)
        return found

    @contextmanager
    def _keeping_account(self) -> Iterator[None]:
        """Keep what failed in a search that is given up."""
        try:
            yield
        except NeuroVaultError as error:
            self._raised = error.failures
            raise

    def _tell_of_cap(self, found: Found) -> None:
        if found.truncated and self.query.max_images_is_default:
            logger.warning(_CAPPED, len(found.images))

    def _token(self) -> str:
        what = (self.query.fingerprint(), self.reader, self._chunks)
        return f"{what!r} {self.vault.place()}"
