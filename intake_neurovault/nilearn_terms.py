"""What nilearn's users ask for, as a query: terms, functions, and the defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intake_neurovault import layout
from intake_neurovault.comparisons import NotEqual, NotIn, NotNull
from intake_neurovault.errors import (
    Failure,
    NeuroVaultError,
    UnknownArgumentError,
)
from intake_neurovault.filters import Filter, parse_filter, split_terms
from intake_neurovault.notices import warn
from intake_neurovault.query import Query
from intake_neurovault.records import Collection
from intake_neurovault.result_filter import Test, any_record
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS
from intake_neurovault.vault import Vault

Terms = dict[str, Any]
Predicate = Callable[[Mapping[str, Any]], bool]


def basic_collection_terms() -> Terms:
    """Give the conditions on collections that hold unless others are given.

    Returns
    -------
    dict
        A new one: the collection holds images.

    Examples
    --------
    >>> basic_collection_terms()
    {'number_of_images': NotNull()}
    """
    return {"number_of_images": NotNull()}


def basic_image_terms() -> Terms:
    """Give the conditions on images that hold unless others are given.

    Returns
    -------
    dict
        A new one: unthresholded maps in MNI space that are no masks, atlases,
        parcellations or anatomical images.

    Examples
    --------
    >>> basic_image_terms()["map_type"]
    NotIn('ROI/mask', 'anatomical', 'parcellation')
    """
    return {
        "not_mni": False,
        "is_thresholded": False,
        "map_type": NotIn("ROI/mask", "anatomical", "parcellation"),
        "image_type": NotEqual("atlas"),
    }


_BASIC = {"image": basic_image_terms, "collection": basic_collection_terms}
_KINDS = {"image": IMAGE_KINDS, "collection": COLLECTION_KINDS}


@dataclass(frozen=True)
class Conditions:
    """What images, or collections, must fulfil.

    Examples
    --------
    >>> asked = Conditions.parse("image", {}, any_record, {"map_type": "Z map"})
    >>> asked.all_terms, asked.function
    ({'map_type': 'Z map'}, None)
    """

    terms: Mapping[str, Any]
    """Conditions on fields."""
    function: Predicate | None
    """A condition that only Python can express."""
    declared: Mapping[str, Any] | None = None
    """The terms of a `ResultFilter` that was given as function."""

    @property
    def all_terms(self) -> Mapping[str, Any]:
        """What can be written down, in the grammar of filters."""
        return {"$and": [self.terms, self.declared]} if self.declared else self.terms

    @classmethod
    def parse(
        cls,
        what: str,
        terms: Mapping[str, Any] | None,
        function: Test | None,
        more: Mapping[str, Any],
    ) -> Conditions:
        """Join what nilearn takes by three arguments.

        Parameters
        ----------
        what : {"image", "collection"}
            What the conditions are on.
        terms : mapping, optional
            Conditions on fields; the basic ones if absent.
        function : callable
            A function of the metadata, or a `ResultFilter`.
        more : mapping
            Conditions on fields that replace those of `terms`.

        Returns
        -------
        Conditions
            All of them.

        Raises
        ------
        FilterError
            If one cannot be understood.

        Warns
        -----
        NeuroVaultWarning
            If a function is given and basic conditions hold that nobody gave.
        """
        basic = _BASIC[what]()
        given = basic if terms is None else terms
        parse_filter(given, kinds=_KINDS[what], where=f"{what}_terms")
        joined = {**given, **more}
        if function is None or function is any_record:
            return cls(joined, None)
        if _said(what, given) == _said(what, basic):
            _warn_of_basic_terms(what, joined, basic)
        declared, rest = split_terms(function, f"{what}_filter")
        return cls(joined, rest, declared)


def _said(what: str, terms: Mapping[str, Any]) -> Filter:
    return parse_filter(terms, kinds=_KINDS[what], where=f"{what}_terms")


def _warn_of_basic_terms(what: str, terms: Terms, basic: Terms) -> None:
    # NOTE: with nilearn's way of comparing, a map_type that somebody asks for equals
    # the basic one, which only excludes some.
    left = [
        name
        for name, term in basic.items()
        if _said(what, {name: terms[name]}) == _said(what, {name: term})
    ]
    if left:
        msg = (
            f"You specified a value for `{what}_filter` but the default filters in "
            f"`{what}_terms` still apply ({', '.join(left)}). If you want to disable "
            f"them, pass `{what}_terms={{}}`."
        )
        warn(msg)


@dataclass(frozen=True)
class OnDisk:
    """A condition on images: a file of theirs is in the store.

    Examples
    --------
    >>> OnDisk(Path("/no/such/store"))({"id": 3, "collection_id": 1})
    False
    """

    root: Path
    """The folder of the store."""
    function: Predicate | None = None
    """What must hold besides."""
    resampled: bool = False
    """Whether a resampled file will do."""

    def __call__(self, record: Mapping[str, Any]) -> bool:
        """Tell whether the metadata are those of such an image."""
        ids = record["collection_id"], record["id"]
        paths = [layout.image_path(*ids)]
        if self.resampled:
            paths.append(layout.resampled_path(*ids))
        there = any((self.root / path).is_file() for path in paths)
        return there and (self.function is None or bool(self.function(record)))


def refuse_ids(names: Mapping[str, Any]) -> None:
    """Refuse ids where only conditions on fields are taken.

    Parameters
    ----------
    names : mapping
        Conditions on fields.

    Raises
    ------
    UnknownArgumentError
        If one of them is called as an argument of `fetch_neurovault_ids`.

    Examples
    --------
    >>> refuse_ids({"map_type": "Z map"})
    """
    for name in ("collection_ids", "image_ids"):
        if name in names:
            msg = (
                f"fetch_neurovault() has no argument {name!r}; "
                f"fetch_neurovault_ids({name}=...) takes ids, without conditions, and "
                f"search({name}=..., image_terms=...) takes both."
            )
            raise UnknownArgumentError(msg)


def without_collection_id(
    images: Conditions, collections: Conditions
) -> tuple[Conditions, Conditions]:
    """Ask for the id of a collection among the conditions on collections.

    Parameters
    ----------
    images, collections : Conditions
        What images and collections must fulfil.

    Returns
    -------
    images, collections : Conditions
        The same, where ``collection_id`` is asked of the collections as ``id``, so
        that no other collection need be looked through; unless another ``id`` is
        asked of them already.

    Warns
    -----
    NeuroVaultWarning
        If the collection that is named is one that is excluded.

    Examples
    --------
    >>> images = Conditions({"collection_id": 1952}, None)
    >>> [each.terms for each in without_collection_id(images, Conditions({}, None))]
    [{}, {'id': 1952}]
    """
    if "collection_id" not in images.terms:
        return images, collections
    if "id" in collections.terms:
        _warn_of_exclusion(images.terms["collection_id"], collections.terms["id"])
        return images, collections
    terms = dict(images.terms)
    moved = {**collections.terms, "id": terms.pop("collection_id")}
    return replace(images, terms=terms), replace(collections, terms=moved)


def _warn_of_exclusion(named: object, asked: object) -> None:
    # NOTE: where both name collections, the query sees whether they are the same.
    number = _said("image", {"collection_id": named}).to_mapping()["collection_id"]
    terms = _said("collection", {"id": asked})
    excluding = isinstance(terms.to_mapping()["id"], dict)
    if isinstance(number, int) and excluding and not terms.matches({"id": number}):
        warn(
            f"Contradictory collection ids: collection_id={number} among the terms of "
            f"images, but id={asked!r} among those of collections, so that no image "
            "can match; leave one of them out."
        )


def among_collections(query: Query, function: Predicate, vault: Vault) -> Query:
    """Ask a function which collections to look through.

    Parameters
    ----------
    query : Query
        What to look for.
    function : callable
        A condition on the metadata of a collection.
    vault : Vault
        Where the collections are listed.

    Returns
    -------
    Query
        The same, among the collections for which the function holds.

    Raises
    ------
    NeuroVaultError
        Under the policy ``raise``, if a collection cannot be had.

    Warns
    -----
    NeuroVaultWarning
        Under the policy ``warn``, if one cannot be had.
    """
    terms = query.collection_filter
    chosen = [
        about.id
        for about in _collections(query, vault)
        if terms.matches(about.metadata) and _wanted(about, function)
    ]
    named = _said("collection", {"$and": [terms.to_mapping(), {"id": {"$in": chosen}}]})
    return replace(query, collection_filter=named)


def _wanted(about: Collection, function: Predicate) -> bool:
    try:
        return bool(function(about.metadata))
    except Exception as error:
        error.add_note(
            f"The function given as collection_filter failed at collection {about.id}."
        )
        raise


def _collections(query: Query, vault: Vault) -> list[Collection]:
    listings, report = vault.mirror.listings, vault.pool.report()
    numbers = query.collections_to_visit()
    found: list[Collection] = []
    try:
        if numbers is None:
            found.extend(listings.collections(vault.pool.workers).items)
        for number in numbers or ():
            found.append(listings.collection(number))
    except NeuroVaultError as error:
        place = f"{listings.client.url}/api/collections/"
        failure = Failure(None, None, place, str(error), error.attempts)
        report.failed(failure, error)
    report.warn("listed")
    return found
