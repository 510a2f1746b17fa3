"""The collections in which one may search: deferred, countable, each by its name."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from intake_neurovault.arguments import search
from intake_neurovault.conditions import combine
from intake_neurovault.errors import ArgumentError, FilterError
from intake_neurovault.filters import Filter, parse_filter, split_terms
from intake_neurovault.finder import Finder
from intake_neurovault.forks import PerProcess
from intake_neurovault.found import Found, outcome
from intake_neurovault.query import Query
from intake_neurovault.records import Collection
from intake_neurovault.refs import CollectionRef, Token, shown
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS
from intake_neurovault.tables import collection_table, failure_table
from intake_neurovault.titles import (
    description_of,
    mentioning,
    name_of,
    provisional_name,
    ref_in,
)

if TYPE_CHECKING:
    import pandas as pd

_BASIC = Query.parse().collection_filter
_LONGEST_SHOWN = 200


@dataclass(frozen=True)
class Entry:
    """A collection as an entry of a catalog."""

    name: str
    """Its title and number, or the number alone while it was not listed."""
    description: str
    """Title, authors, journal, DOI and number of images, as far as they are known."""
    url: str
    """Its page; empty while only its token is known."""
    arguments: Mapping[str, Any]
    """The arguments of `search` for its images."""


class Directory:
    """The collections in which one may search: deferred, countable, each by its name.

    It takes the arguments of `search` but `image_ids` and `frozen`. They hold for the
    images of each collection; conditions on collections choose among these, and with
    conditions on images only those are listed in which one matches. Nothing is
    requested before somebody looks.

    Parameters
    ----------
    **arguments
        Those of `search`.

    Raises
    ------
    UnknownArgumentError
        If an argument is misspelt.
    ArgumentError
        If a value is not what its argument takes.

    Examples
    --------
    >>> directory = Directory(collection_terms={"DOI": {"$null": False}}, grid=2)
    >>> directory
    <Directory: not listed yet; all collections where DOI is not null>
    >>> directory.entry(directory.ref_of("brainpedia_1952")).arguments["collection_ids"]
    [1952]
    """

    def __init__(self, **arguments: Any) -> None:
        for name in ("image_ids", "frozen"):
            if arguments.get(name) is not None:
                msg = f"{name}= has no place in a list of collections; use search()."
                raise ArgumentError(msg)
        ids: Any = arguments.get("collection_ids")
        self._named = ids is not None
        # NOTE: read as for the images of collections that are named, so that no
        # condition and no cap holds but those given.
        refs = [] if ids is None else ids
        self._images = search(**arguments | {"collection_ids": refs})
        given = self._images.query.collection_filter
        absent = arguments.get("collection_terms") is None and not self._named
        self._chosen = _BASIC if absent else given
        self._arguments = dict(arguments)
        if self._named:
            self._arguments["collection_ids"] = self._images.query.collection_ids
        elif self._chosen == _BASIC:
            self._arguments["collection_terms"] = None
            self._images = search(**self._arguments | {"collection_ids": []})
        self._predicate = split_terms(arguments.get("image_terms"), "image_terms")[1]
        self._lock = PerProcess(threading.Lock)
        self._found: Found | None = None

    @property
    def query(self) -> Query:
        """What is looked for, in all collections together and without a limit."""
        return replace(
            self._images.query,
            collection_filter=self._chosen,
            explicit=self._named,
            max_images=None,
            words=False,
        )

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that were given."""
        return dict(self._arguments)

    @property
    def server(self) -> str:
        """The address of the server."""
        return self._images.vault.mirror.client.url

    @property
    def found(self) -> Found:
        """The outcome of the listing, which is made at the first look."""
        with self._lock.get():
            if self._found is None:
                self._found = self._list()
            return self._found

    @property
    def listed(self) -> datetime | None:
        """When the server gave the oldest list that was used, in UTC."""
        return self.found.moment

    @property
    def known(self) -> Mapping[int, Collection]:
        """The collections by number, as far as they were listed already."""
        found = self._found
        return {} if found is None else found.collections

    def __len__(self) -> int:
        return len(self.found.collections)

    def __bool__(self) -> bool:
        # NOTE: truth must not cost a request; `len(directory)` counts.
        return True

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.found.collections.values())

    def __contains__(self, key: object) -> bool:
        try:
            ref = self.ref_of(key)
        except KeyError:
            return False
        if isinstance(ref, Token):
            return any(each.token == ref for each in self)
        return ref in self.found.collections

    def names(self) -> dict[str, CollectionRef]:
        """Name the collections.

        Returns
        -------
        dict of str to int or Token
            In the order of the ids given, else by number: title and number of each,
            such as ``brainpedia_1952``, and what it is asked for by.
        """
        return {name_of(each): each.token or each.id for each in self}

    def ref_of(self, key: object) -> CollectionRef:
        """Tell which collection is meant.

        Parameters
        ----------
        key : int or str
            A number, a name that ends in one, of which only that counts, so that it
            stays right when somebody changes the title; or ``"env:NAME"`` for a
            private collection.

        Returns
        -------
        int or Token
            What the collection is asked for by. Nothing is requested, unless a number
            may be that of a private collection.

        Raises
        ------
        KeyError
            If that is no collection, or none of those named.
        """
        ref = ref_in(key)
        given = self._images.query.collection_ids
        if not self._named or ref in given:
            return ref
        private = any(isinstance(each, Token) for each in given)
        if private and isinstance(ref, int) and ref in self.found.collections:
            return self.found.collections[ref].token or ref
        msg = f"{shown(key)} is not among the collections that collection_ids names."
        raise KeyError(msg)

    def about(self, ref: CollectionRef) -> Collection | None:
        """Give what is known of a collection; nothing is requested.

        Parameters
        ----------
        ref : int or Token
            The collection.

        Returns
        -------
        Collection or None
            Its record, if it was listed already.
        """
        if isinstance(ref, Token):
            return next((one for one in self.known.values() if one.token == ref), None)
        return self.known.get(ref)

    def entry(self, ref: CollectionRef) -> Entry:
        """Describe a collection as an entry of a catalog; nothing is requested.

        Parameters
        ----------
        ref : int or Token
            The collection.

        Returns
        -------
        Entry
            Its name, what is known of it, and the arguments of its images.
        """
        about = self.about(ref)
        number = ref if about is None else about.id
        page = f"{self.server}/collections/{number}/"
        shown = _written(ref)
        return Entry(
            name=provisional_name(ref) if about is None else name_of(about),
            description="" if about is None else description_of(about),
            url=page if isinstance(number, int) else "",
            arguments={**self._arguments, "collection_ids": [shown]},
        )

    @property
    def df(self) -> pd.DataFrame:
        """The collections as a table: one row each, the core metadata typed."""
        return collection_table(list(self))

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had, and why."""
        return failure_table(self.found.failures)

    def narrowed(
        self,
        text: str | None = None,
        *,
        collection_terms: Mapping[str, Any] | None = None,
        image_terms: Any = None,
    ) -> Directory:
        """Choose among the collections; nothing is requested.

        Parameters
        ----------
        text : str, optional
            Words, one of which must occur in title, description, authors, DOI, journal
            or owner, in small letters or capitals.
        collection_terms : mapping, optional
            Conditions on collections, which hold besides those there are.
        image_terms : mapping or callable, optional
            Conditions on images, which hold besides those there are.

        Returns
        -------
        Directory
            A new one.

        Raises
        ------
        ArgumentError
            If nothing is given by which to choose.
        FilterError
            If conditions cannot be understood, or a Python function not joined with
            other conditions on images.
        """
        changes: dict[str, Any] = {}
        if text and text.strip():
            changes["collection_terms"] = self._both(mentioning(text))
        if collection_terms is not None:
            base = changes.get("collection_terms", {})
            more = {"$and": [base, collection_terms]} if base else collection_terms
            changes["collection_terms"] = self._both(more)
        if image_terms is not None:
            changes["image_terms"] = self._both_on_images(image_terms)
        if not changes:
            msg = "search() needs some text, collection_terms or image_terms."
            raise ArgumentError(msg)
        return Directory(**{**self._arguments, **changes})

    def _both(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        new = parse_filter(terms, kinds=COLLECTION_KINDS, where="collection_terms")
        return combine("$and", [self._chosen, new]).to_mapping()

    def _both_on_images(self, terms: Any) -> Any:
        old = self._images.query.image_filter
        if old == Filter() and self._predicate is None:
            return terms
        if self._predicate is not None or not isinstance(terms, Mapping):
            msg = (
                "image_terms: a Python function cannot be joined with other "
                "conditions; say all of it in one function, or in a filter's grammar."
            )
            raise FilterError(msg)
        new = parse_filter(terms, kinds=IMAGE_KINDS, where="image_terms")
        return combine("$and", [old, new]).to_mapping()

    def to_arguments(self) -> dict[str, Any]:
        """Give the arguments that describe it.

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
        arguments = self._images.to_arguments()
        # NOTE: without collections that are named, none are asked for by the images.
        arguments.pop("image_ids", None)
        if self._named:
            arguments.setdefault("collection_ids", [])
        elif self._chosen == Filter():
            arguments["collection_terms"] = {}
        return arguments

    def close(self) -> None:
        """Forget what was listed; the next look lists again."""
        with self._lock.get():
            self._found = None
            self._images.close()

    def _list(self) -> Found:
        listings, pool = self._images.vault.mirror.listings, self._images.vault.pool
        if not self._named and self._arguments.get("errors") is None:
            pool = replace(pool, errors="warn")
        finder, query = Finder(listings, pool), self.query
        if query.image_filter == Filter() and self._predicate is None:
            return finder.find_collections(query)
        found = outcome(finder.find(query, self._predicate))
        homes = {each.id: each for each in found.collections.values()}
        return replace(found, images=(), collections=homes)

    def _identity(self) -> tuple[object, ...]:
        return (self._images, self._chosen, self._named)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Directory) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getstate__(self) -> dict[str, Any]:
        # NOTE: whoever receives a copy lists again, from the store, what was listed.
        return {**vars(self), "_lock": PerProcess(threading.Lock), "_found": None}

    def __dask_tokenize__(self) -> tuple[object, ...]:
        how = self._images.__dask_tokenize__()
        return ("Directory", self._chosen.canonical(), self._named, how)

    def __repr__(self) -> str:
        number = None if self._found is None else len(self._found.collections)
        count = {None: "not listed yet", 1: "1 collection"}.get(
            number, f"{number} collections"
        )
        return f"<{type(self).__name__}: {count}; {self._described()}>"

    def _described(self) -> str:
        query = self.query
        named = query.describe().partition(";")[0]
        parts = [named if self._named else "all collections"]
        if query.collection_filter not in (Filter(), _BASIC):
            parts[0] += f" where {query.collection_filter.describe()}"
        if query.image_filter != Filter():
            parts.append(f"with images where {query.image_filter.describe()}")
        text = "; ".join(parts)
        return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _written(ref: CollectionRef) -> CollectionRef | str:
    return ref.to_json() if isinstance(ref, Token) and ref.env else ref
