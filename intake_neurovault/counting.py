"""How many images match, without their records where the server tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from intake_neurovault.diagnosis import name_of
from intake_neurovault.errors import AnswerError, NeuroVaultError
from intake_neurovault.filters import Filter
from intake_neurovault.finder import Finder
from intake_neurovault.found import outcome
from intake_neurovault.listings import Listings
from intake_neurovault.pages import Page
from intake_neurovault.pool import Pool
from intake_neurovault.query import Query
from intake_neurovault.refs import CollectionRef, Token
from intake_neurovault.resource import Resource, without_token
from intake_neurovault.sieve import Predicate

logger = logging.getLogger(__name__)


def count(
    listings: Listings, pool: Pool, query: Query, predicate: Predicate | None = None
) -> int:
    """Count the images that match, whatever the cap of the query.

    Parameters
    ----------
    listings : Listings
        The records of the server.
    pool : Pool
        How many requests at a time, and what a failure does.
    query : Query
        What to look for.
    predicate : callable, optional
        One more condition, on the cleaned metadata of an image.

    Returns
    -------
    int
        How many. For whole collections that were not listed yet, what the server
        says of the length of their lists, which takes one short request for each.

    Raises
    ------
    NeuroVaultError
        Under the policy ``raise``, the first thing that cannot be had.
    """
    every = replace(query, max_images=None)
    finder = Finder(listings, pool)
    if _is_whole(every) and predicate is None and not listings.offline:
        known = finder.known(every)
        if known is not None:
            return len(known.images)
        try:
            with pool.map(_length_of(listings), every.collection_ids) as lengths:
                return sum(_given(length) for _, length in lengths)
        except NeuroVaultError as error:
            # NOTE: the search says what is wrong, as the policy on errors has it.
            logger.debug("Not counted by the server: %s", error)
    return len(outcome(finder.find(every, predicate)).images)


def _is_whole(query: Query) -> bool:
    unconditional = query.image_filter == query.collection_filter == Filter()
    return bool(query.collection_ids) and not query.image_ids and unconditional


def _length_of(listings: Listings) -> Callable[[CollectionRef], int]:
    """Ask how long the list of a collection's images is.

    Its record says so too, but counts packs of NIDM results as images.
    """
    client = listings.client

    def length(ref: CollectionRef) -> int:
        key = ref.reveal() if isinstance(ref, Token) else ref
        url = f"{client.url}/api/collections/{key}/images/?limit=1"
        resource = Resource(url, without_token(url), f"{name_of(ref)}, list of images")
        page = Page.parse(client.json(url), resource)
        if isinstance(page, Page) and page.count is not None:
            return page.count
        msg = f"{resource.what}: {resource.shown} does not say how long it is."
        raise AnswerError(msg)

    return length


def _given(length: int | NeuroVaultError) -> int:
    if isinstance(length, NeuroVaultError):
        raise length
    return length
