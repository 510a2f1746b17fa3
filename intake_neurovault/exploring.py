"""What a user asks of a result before voxels are: what is in it, and less of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

import pandas as pd

from intake_neurovault import counting, cube
from intake_neurovault.errors import UnknownArgumentError
from intake_neurovault.filters import Every
from intake_neurovault.found import Found
from intake_neurovault.narrowing import Selection, narrowed, sampled
from intake_neurovault.nifti import Reader
from intake_neurovault.parameters import DEFAULTS, parse_switch, reject_unknown
from intake_neurovault.query import Query
from intake_neurovault.sieve import Predicate
from intake_neurovault.tables import unique_values
from intake_neurovault.vault import Vault

_CHANGEABLE = (
    "image_terms",
    "collection_terms",
    "image_ids",
    "collection_ids",
    "max_images",
    "grid",
    "interpolation",
    "nan",
    "fill_value",
    "chunks",
    "fetch_neurosynth_words",
)


class Explorable(ABC):
    """A result that can be counted, summed up and narrowed down."""

    query: Query
    """What is looked for."""
    reader: Reader
    """How maps are read."""
    vault: Vault
    """Where maps come from."""
    _chunks: cube.Chunks
    _predicate: Predicate | None
    _matched: int | None = None

    @property
    @abstractmethod
    def found(self) -> Found:
        """The outcome of the search, which runs at the first look."""

    @property
    @abstractmethod
    def df(self) -> pd.DataFrame:
        """The images as a table."""

    @abstractmethod
    def _holding(
        self,
        query: Query,
        found: Found,
        reader: Reader | None = None,
        chunks: cube.Chunks | None = None,
        predicate: Predicate | None = None,
    ) -> Self:
        """Make a result of what was found, of the same server and store."""

    def search(
        self,
        *,
        image_terms: Mapping[str, Any] | Predicate | None = None,
        collection_terms: Mapping[str, Any] | None = None,
        image_ids: object = None,
        collection_ids: object = None,
        max_images: object = ...,
        grid: object = ...,
        interpolation: object = ...,
        nan: object = ...,
        fill_value: object = ...,
        chunks: object = ...,
        fetch_neurosynth_words: object = ...,
        **unknown: object,
    ) -> Self:
        """Search within this result; the server is asked nothing.

        The records in hand are looked through; a result that was not searched yet is
        searched first. The arguments are those of `intake_neurovault.search`; what is
        left out stays as it is, and no basic terms are added.

        Parameters
        ----------
        image_terms : mapping or callable, optional
            Further conditions on the images.
        collection_terms : mapping, optional
            Further conditions on their collections.
        image_ids : int or sequence of int, optional
            Only these images, in the order of this result.
        collection_ids : int, str or sequence, optional
            Only the images of these collections.
        max_images : int, optional
            At most so many, the first ones.
        grid, interpolation, nan, fill_value, chunks : optional
            How the maps are read from now on.
        fetch_neurosynth_words : bool, optional
            Whether Neurosynth's word weights are added.
        **unknown
            Refused, with a suggestion.

        Returns
        -------
        SearchResult
            A new result; this one stays as it is.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes, or `max_images` is more than
            this result stopped at.
        UnknownArgumentError
            If an argument is misspelt, or is about server and store, which stay.

        Warns
        -----
        NeuroVaultWarning
            If ids are given that are not here, or a condition is on a field that none
            of the images has.

        Notes
        -----
        The new result is a query like any other: ``to_arguments()`` combines the
        conditions of both, and asked anew it gives the same images. Where this result
        had stopped at ``max_images``, more conditions would let such a query look
        further; then it names the images by their ids instead, so that it never gives
        images that were not here.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> nothing = search(image_ids=[])
        >>> nothing.search(image_terms={"map_type": "Z map"}).to_arguments()
        {'image_terms': {'map_type': 'Z map'}, 'image_ids': []}
        """
        _refuse(unknown)
        reading = {
            "grid": grid,
            "interpolation": interpolation,
            "nan": nan,
            "fill_value": fill_value,
        }
        given = {name: value for name, value in reading.items() if value is not ...}
        reader = Reader.parse(**(self.reader.to_arguments() | given))
        rows = self._chunks if chunks is ... else cube.parse_chunks(chunks)
        found = self.found
        selection = Selection.parse(
            found,
            image_terms=image_terms,
            collection_terms=collection_terms,
            image_ids=image_ids,
            collection_ids=collection_ids,
            max_images=max_images,
        )
        query, rest = narrowed(self.query, found, selection)
        if fetch_neurosynth_words is not ...:
            words = parse_switch(fetch_neurosynth_words, "fetch_neurosynth_words")
            query = replace(query, words=words)
        predicate = _both(self._predicate, selection.predicate)
        return self._holding(query, rest, reader, rows, predicate)

    def sample(self, n: int, *, seed: int = 0) -> Self:
        """Draw some images at random; the server is asked nothing.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Which of the many samples of that size: the same number gives the same
            images, on any machine, as long as the same images match.

        Returns
        -------
        SearchResult
            A new result that names its images by their ids, in the order of this one.
            Of a result that stopped at ``max_images``, only those images are drawn.

        Raises
        ------
        ArgumentError
            If there are not so many.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> search(image_ids=[]).sample(0).to_arguments()
        {'image_ids': []}
        """
        return self._holding(*sampled(self.query, self.found, n, seed))

    def matched(self) -> int:
        """Count the images that match, also those beyond ``max_images``.

        Returns
        -------
        int
            How many. Where the records are not needed, they are not asked for: of
            whole collections that were not listed yet the server tells the number.
            Else the search is made without its limit, which can take long; what it
            lists is kept.

        Raises
        ------
        NeuroVaultError
            With ``errors="raise"``, the first thing that cannot be had.
        """
        if self._matched is None:
            self._matched = self._count()
        return self._matched

    def _count(self) -> int:
        if self._has_all():
            return len(self.found.images)
        if self.vault.lock is not None:
            every = replace(self.query, max_images=None)
            return len(self.vault.search(every, self._predicate).images)
        listings, pool = self.vault.mirror.listings, self.vault.pool
        return counting.count(listings, pool, self.query, self._predicate)

    @abstractmethod
    def _has_all(self) -> bool:
        """Tell whether everything that matches was found already."""

    def unique(self, column: str | None = None) -> pd.Series[Any] | list[Any]:
        """List what occurs in the columns of the table.

        Parameters
        ----------
        column : str, optional
            One column of ``.df``; all if absent.

        Returns
        -------
        list or pandas.Series
            The values of that column, each once, in the order of the images; what is
            null is left out. Or such a list for each column.

        Raises
        ------
        ArgumentError
            If there is no such column.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> search(image_ids=[]).unique("map_type")
        []
        """
        table = self.df
        if column is not None:
            return unique_values(table, column)
        found = {name: unique_values(table, name) for name in table.columns}
        return pd.Series(found, dtype="object", name="unique")

    def nunique(self) -> pd.Series[int]:
        """Count the different values in each column of the table.

        Returns
        -------
        pandas.Series
            Whole numbers, by column; what is null does not count.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> int(search(image_ids=[]).nunique()["map_type"])
        0
        """
        table = self.df
        found = {name: len(unique_values(table, name)) for name in table.columns}
        return pd.Series(found, dtype="int64", name="nunique")


def _refuse(unknown: Iterable[str]) -> None:
    for name in unknown:
        if name in DEFAULTS:
            msg = (
                f".search() of a result cannot change {name!r}, since server and store "
                f"stay; give it to intake_neurovault.search() instead."
            )
            raise UnknownArgumentError(msg)
    reject_unknown(unknown, _CHANGEABLE, where=".search() of a result")


def _both(one: Predicate | None, other: Predicate | None) -> Predicate | None:
    if one is None or other is None:
        return other if one is None else one
    return Every((one, other))
