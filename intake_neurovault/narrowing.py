"""A search within what was found: further terms on the records in hand, or a sample.

What comes of it is again a query and what that finds, so that it can be written down:
asked anew, of the same server, the query gives the same images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from types import EllipsisType
from typing import Any

from intake_neurovault.conditions import combine
from intake_neurovault.errors import ArgumentError
from intake_neurovault.filters import Filter, Step, parse_filter, split_terms
from intake_neurovault.found import Found
from intake_neurovault.parameters import parse_cap
from intake_neurovault.query import Query
from intake_neurovault.refs import (
    CollectionRef,
    Token,
    parse_collection_ref,
    parse_id,
    parse_many,
    shown,
    unboxed,
)
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS
from intake_neurovault.sieve import Predicate
from intake_neurovault.subsets import sifted, warn_of_absent

_parse_image_id = partial(parse_id, what="every item of image_ids")


@dataclass(frozen=True)
class Selection:
    """What is wanted of the images that were found.

    Examples
    --------
    >>> nothing = Found((), {}, (), (), None, truncated=False)
    >>> Selection.parse(nothing, image_terms={"age": {"$gte": 20}}).image_filter
    Filter({'age': {'$gte': 20}})
    """

    image_filter: Filter = field(default_factory=Filter)
    """What the images must fulfil besides."""
    collection_filter: Filter = field(default_factory=Filter)
    """What their collections must fulfil besides."""
    predicate: Predicate | None = None
    """One more condition, that only Python can express."""
    cap: int | EllipsisType | None = ...
    """At most so many; None for all, ``...`` for as many as before."""

    @classmethod
    def parse(
        cls,
        found: Found,
        *,
        image_terms: Mapping[str, Any] | Predicate | None = None,
        collection_terms: Mapping[str, Any] | None = None,
        image_ids: object = None,
        collection_ids: object = None,
        max_images: object = ...,
    ) -> Selection:
        """Read the arguments of a search within what was found.

        Parameters
        ----------
        found : Found
            The images, among which ids are looked for.
        image_terms : mapping or callable, optional
            Further conditions on the images.
        collection_terms : mapping, optional
            Further conditions on their collections.
        image_ids : int or iterable of int, optional
            Only these.
        collection_ids : int, str, Token or iterable of these, optional
            Only those of these collections.
        max_images : int, optional
            At most so many; None for all.

        Returns
        -------
        Selection
            The selection.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.

        Warns
        -----
        NeuroVaultWarning
            If ids are given that were not found.
        """
        terms, predicate = split_terms(image_terms, "image_terms")
        about, function = split_terms(collection_terms, "collection_terms")
        images = parse_filter(terms, kinds=IMAGE_KINDS, where="image_terms")
        return cls(
            combine(
                "$and",
                [
                    images,
                    *_any_of("id", _images_named(image_ids, found)),
                    *_any_of("collection_id", _homes_named(collection_ids, found)),
                ],
            ),
            # NOTE: a function says nothing of collections; this refuses it.
            parse_filter(
                function if about is None else about,  # type: ignore[arg-type]
                kinds=COLLECTION_KINDS,
                where="collection_terms",
            ),
            predicate,
            ... if max_images is ... else parse_cap(max_images),
        )

    @property
    def only_caps(self) -> bool:
        """Whether nothing but a number is asked for.

        Examples
        --------
        >>> Selection(cap=3).only_caps
        True
        """
        return replace(self, cap=...) == Selection()


def narrowed(query: Query, found: Found, selection: Selection) -> tuple[Query, Found]:
    """Search within what was found; nothing is requested.

    Parameters
    ----------
    query : Query
        What was looked for.
    found : Found
        What it found.
    selection : Selection
        What is wanted of that.

    Returns
    -------
    query : Query
        With the conditions of both. If the search had stopped at its cap, more
        conditions would let it look further: then the images are named by their ids.
    found : Found
        Some of the images. The terms of the selection follow those of the query in
        the account of what each removed.

    Raises
    ------
    ArgumentError
        If more images are wanted than those at which the search stopped.

    Warns
    -----
    NeuroVaultWarning
        If a condition is on a field that none of the images has.

    Examples
    --------
    >>> nothing = Found((), {}, (), (), None, truncated=False)
    >>> wanted = Selection.parse(nothing, image_terms={"map_type": "Z map"})
    >>> narrowed(Query.parse(image_ids=[3]), nothing, wanted)[0].describe()
    'images 3; where map_type is "Z map"'
    """
    if selection == Selection():
        return query, found
    stopped = found.truncated or query.max_images == 0
    if stopped:
        _refuse_more(query, selection.cap)
    cap = None if selection.cap is ... else selection.cap
    inner = Query(selection.image_filter, selection.collection_filter, max_images=cap)
    rest = sifted(found, inner, selection.predicate)
    rest = replace(rest, steps=(*found.steps, *rest.steps))
    both = replace(
        query,
        image_filter=combine("$and", [query.image_filter, selection.image_filter]),
        collection_filter=combine(
            "$and", [query.collection_filter, selection.collection_filter]
        ),
        max_images=query.max_images if selection.cap is ... else cap,
    )
    if stopped and not selection.only_caps:
        return pinned(both, rest)
    return both, rest


def sampled(
    query: Query, found: Found, number: object, seed: object
) -> tuple[Query, Found]:
    """Draw some images.

    Parameters
    ----------
    query : Query
        What was looked for.
    found : Found
        What it found.
    number : int
        How many.
    seed : int
        Which of the many samples of that size.

    Returns
    -------
    query : Query
        As before, with the images named by their ids.
    found : Found
        Some of the images, in the order they had. With the same seed they are the
        same in any process and version of Python; a sample holds the smaller ones.

    Raises
    ------
    ArgumentError
        If there are not so many, or a number is none.

    Examples
    --------
    >>> nothing = Found((), {}, (), (), None, truncated=False)
    >>> sampled(Query.parse(image_ids=[3]), nothing, 0, 0)[1].images
    ()
    """
    wanted, key = _whole(number, "sample(n)"), _whole(seed, "sample(seed=)")
    total = len(found.images)
    if not 0 <= wanted <= total:
        msg = f"sample({wanted}): this result has {total} images; ask for 0 to {total}."
        raise ArgumentError(msg)
    # NOTE: a generator of random numbers may change with the version of Python.
    drawn = sorted((image.id for image in found.images), key=partial(_lot, f"{key}"))[
        :wanted
    ]
    kept = set(drawn)
    images = tuple(image for image in found.images if image.id in kept)
    step = Step(f"a sample of {wanted}", total - wanted, total - wanted, seen=total)
    steps = (*found.steps, step)
    return pinned(query, replace(found, images=images, steps=steps))


def pinned(query: Query, found: Found) -> tuple[Query, Found]:
    """Name images by their ids, so that no other can come in their place.

    Parameters
    ----------
    query : Query
        What was looked for; its conditions stay.
    found : Found
        Some of the images that fulfil it.

    Returns
    -------
    query : Query
        One that gives these images, in this order.
    found : Found
        The same, and not a part of more.

    Examples
    --------
    >>> nothing = Found((), {}, (), (), None, truncated=True)
    >>> pinned(Query.parse(max_images=5), nothing)[0].image_ids
    ()
    """
    ids = tuple(image.id for image in found.images)
    found = replace(found, truncated=False)
    if not query.collection_ids:
        query = replace(query, image_ids=ids, max_images=None, explicit=True)
        return query, found
    # NOTE: what is in a private collection can be had through its collection only.
    kept = set(ids)
    condition = combine("$and", [query.image_filter, *_any_of("id", ids)])
    named = tuple(number for number in query.image_ids if number in kept)
    query = replace(query, image_filter=condition, image_ids=named, max_images=None)
    return query, found


def _refuse_more(query: Query, cap: int | EllipsisType | None) -> None:
    limit = query.max_images
    if cap is ... or limit is None or (cap is not None and cap <= limit):
        return
    msg = (
        f"max_images={cap}: this result stopped at its first {limit} images and knows "
        f"of no others; give the larger max_images to the search that made it."
    )
    raise ArgumentError(msg)


def _images_named(image_ids: object, found: Found) -> tuple[int, ...] | None:
    ids = parse_many(image_ids, _parse_image_id, "image_ids")
    if ids is not None:
        there = {image.id for image in found.images}
        warn_of_absent("image_ids", [each for each in ids if each not in there])
    return ids


def _homes_named(collection_ids: object, found: Found) -> tuple[int, ...] | None:
    refs = parse_many(collection_ids, parse_collection_ref, "collection_ids")
    if refs is None:
        return None
    numbers = {ref: _numbers(ref, found) for ref in refs}
    absent = [ref for ref in refs if not found.collections.keys() & numbers[ref]]
    warn_of_absent("collection_ids", absent)
    return tuple(chain.from_iterable(numbers.values()))


def _numbers(ref: CollectionRef, found: Found) -> list[int]:
    if not isinstance(ref, Token):
        return [ref]
    about = found.collections
    return [number for number in about if about[number].token == ref]


def _any_of(name: str, values: Iterable[int] | None) -> list[Filter]:
    if values is None:
        return []
    terms = {name: {"$in": sorted(values)}}
    return [parse_filter(terms, kinds=IMAGE_KINDS, where=name)]


def _whole(value: object, where: str) -> int:
    number = unboxed(value)
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    msg = f"{where} takes a whole number, not {shown(value)}."
    raise ArgumentError(msg)


def _lot(seed: str, number: int) -> bytes:
    return hashlib.sha256(f"{seed} {number}".encode()).digest()
