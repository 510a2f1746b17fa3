"""A choice among frozen images, by further conditions."""

from __future__ import annotations

from dataclasses import replace

from intake_neurovault.found import Found
from intake_neurovault.locks import Lock
from intake_neurovault.pool import Report
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image
from intake_neurovault.sieve import Predicate, Sieve


def subset(
    lock: Lock, query: Query, predicate: Predicate | None, report: Report
) -> Found:
    """Choose among frozen images; nothing is requested.

    Parameters
    ----------
    lock : Lock
        What was frozen.
    query : Query
        The conditions.
    predicate : callable, optional
        One more condition, on the cleaned metadata of an image.
    report : Report
        Takes up what fails.

    Returns
    -------
    Found
        The images, in the order in which they were frozen.

    Examples
    --------
    >>> lock = Lock("2024", "https://a.org", Query.parse(image_ids=[3]), (), {})
    >>> subset(lock, Query.parse(image_terms={"map_type": "Z map"}), None,
    ...        Report("raise")).images
    ()
    """
    sieve = Sieve(query, predicate, report)
    for image in lock.images:
        about = lock.collections[image.collection_id]
        if _is_named(query, image, about) and sieve.passes(about):
            # NOTE: the images come out one by one, and are kept as they do.
            for _ in sieve.sift(about, (image,)):
                pass
        if sieve.full:
            break
    sieve.image_tally.warn_of_unknown_fields("image_terms", query.image_filter)
    found = sieve.found(truncated=False)
    return replace(found, fetched=lock.fetched, failures=lock.failures)


def _is_named(query: Query, image: Image, about: Collection) -> bool:
    """Whether the ids of a query, if it has any, name an image."""
    if not query.explicit or image.id in query.image_ids:
        return True
    refs = query.collection_ids
    return about.id in refs or (about.token is not None and about.token in refs)
