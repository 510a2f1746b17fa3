"""Some of the images in hand, by further conditions; nothing is requested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from intake_neurovault.found import Found
from intake_neurovault.locks import Lock
from intake_neurovault.notices import warn
from intake_neurovault.pool import Report
from intake_neurovault.query import Query
from intake_neurovault.records import Image
from intake_neurovault.sieve import Predicate, Sieve

_SOME = 5  # ids that a warning names


def sifted(found: Found, query: Query, predicate: Predicate | None) -> Found:
    """Look through images in hand.

    Parameters
    ----------
    found : Found
        The images.
    query : Query
        What they, and their collections, must fulfil, and how many are wanted; the ids
        in it are passed over.
    predicate : callable, optional
        One more condition, on the cleaned metadata of an image.

    Returns
    -------
    Found
        Those that do, in the order they had, with an account of these conditions; what
        failed, and how old the lists are, is as it was.

    Warns
    -----
    NeuroVaultWarning
        If a condition is on a field that nothing in hand has.

    Examples
    --------
    >>> nothing = Found((), {}, (), (), 1.7e9, truncated=False)
    >>> sifted(nothing, Query.parse(image_terms={"age": 3}), None).fetched
    1700000000.0
    """
    sieve = Sieve(query, predicate, Report("skip"))
    for home, some in groupby(found.images, key=lambda image: image.collection_id):
        if sieve.full:
            break
        if sieve.passes(found.collections[home]):
            sieve.sift(found.collections[home], list(some))
    images, collections = query.image_filter, query.collection_filter
    sieve.image_tally.warn_of_unknown_fields("image_terms", images)
    sieve.collection_tally.warn_of_unknown_fields("collection_terms", collections)
    rest = sieve.found(truncated=sieve.full)
    return replace(rest, failures=found.failures, fetched=found.fetched)


def subset(lock: Lock, query: Query, predicate: Predicate | None) -> Found:
    """Choose among frozen images.

    Parameters
    ----------
    lock : Lock
        What was frozen.
    query : Query
        The conditions.
    predicate : callable, optional
        One more condition, on the cleaned metadata of an image.

    Returns
    -------
    Found
        The images, in the order in which they were frozen.

    Warns
    -----
    NeuroVaultWarning
        If a condition is on a field that nothing frozen has.

    Examples
    --------
    >>> lock = Lock("2024", "https://a.org", Query.parse(image_ids=[3]), (), {})
    >>> subset(lock, Query.parse(image_terms={"map_type": "Z map"}), None).images
    ()
    """
    named = tuple(image for image in lock.images if _is_named(lock, query, image))
    return sifted(replace(lock.found, images=named), query, predicate)


def warn_of_absent(where: str, absent: Sequence[object]) -> None:
    """Warn of what is named and not in hand.

    Parameters
    ----------
    where : str
        The argument that names it.
    absent : sequence of object
        What is not there; nothing is said if all is.

    Warns
    -----
    NeuroVaultWarning
        Once for all.
    """
    if absent:
        names = ", ".join(map(str, absent[:_SOME]))
        more = f" and {len(absent) - _SOME} more" if absent[_SOME:] else ""
        warn(f"{where}: not in this result: {names}{more}; .keys() lists what is.")


def _is_named(lock: Lock, query: Query, image: Image) -> bool:
    """Whether the ids of a query, if it has any, name an image."""
    if not query.explicit or image.id in query.image_ids:
        return True
    about, refs = lock.collections[image.collection_id], query.collection_ids
    return about.id in refs or (about.token is not None and about.token in refs)
