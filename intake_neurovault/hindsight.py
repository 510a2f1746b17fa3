"""What a server has now of what was frozen: the only questions that a lock leaves."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from intake_neurovault.changes import Change
from intake_neurovault.drift import Present, compare
from intake_neurovault.errors import (
    MissingError,
    NeuroVaultError,
    OfflineError,
    PrivateError,
)
from intake_neurovault.finder import Finder
from intake_neurovault.found import outcome
from intake_neurovault.listings import Listings
from intake_neurovault.locks import Lock
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import Pool
from intake_neurovault.records import Collection, Image


def look_again(
    listings: Listings, pool: Pool, lock: Lock, wanted: Sequence[Image], *, search: bool
) -> Present:
    """Ask a server for the records of frozen images.

    Parameters
    ----------
    listings : Listings
        Whom to ask, and how old an answer may be.
    pool : Pool
        How many requests at a time.
    lock : Lock
        What was frozen.
    wanted : sequence of Image
        The images whose records are wanted.
    search : bool
        Whether to ask by the frozen query, which finds new images too; what that
        leaves open, or else all, is asked for by id.

    Returns
    -------
    Present
        What the server has of these images.

    Raises
    ------
    ServerError
        If it does not say of each what has become of it.
    """
    images: dict[int, Image] = {}
    collections: Mapping[int, Collection] = {}
    if search:
        finder = Finder(listings, replace(pool, errors="skip"))
        found = outcome(finder.find(lock.query))
        images = {each.id: each for each in found.images}
        collections = found.collections
    matching = tuple(images)
    deleted, hidden = set(), set()

    def ask(image: Image) -> Image:
        return listings.image(image.id, image.file.token if image.file else None)

    rest = [each for each in wanted if each.id not in images]
    with pool.map(ask, rest) as outcomes:
        for image, answer in outcomes:
            if isinstance(answer, MissingError):
                deleted.add(image.id)
            elif isinstance(answer, PrivateError):
                hidden.add(image.id)
            elif isinstance(answer, NeuroVaultError):
                raise answer
            else:
                images[image.id] = answer
    homes = {each.collection_id for each in rest if each.id in deleted}
    private = {number for number in homes if _is_private(listings, number)}
    hidden |= {each.id for each in rest if each.collection_id in private} & deleted
    deleted -= hidden
    return Present(images, collections, matching, frozenset(deleted), frozenset(hidden))


def _is_private(listings: Listings, number: int) -> bool:
    # NOTE: the server says of images in a private collection that there are none.
    try:
        listings.collection(number)
    except PrivateError:
        return True
    except MissingError:
        return False
    return False


def changes_since(
    mirror: Mirror, pool: Pool, lock: Lock, lost: frozenset[int] = frozenset()
) -> tuple[Change, ...]:
    """Ask a server what changed since a query was frozen.

    Parameters
    ----------
    mirror : Mirror
        The server, and the store with the frozen files.
    pool : Pool
        How many requests at a time.
    lock : Lock
        What was frozen.
    lost : frozenset of int
        Images whose frozen bytes were asked for in vain.

    Returns
    -------
    tuple of Change
        All that changed; images that match now and did not then are named too.

    Raises
    ------
    OfflineError
        If the mode is ``offline``.
    ServerError
        If the server does not answer.
    """
    if mirror.offline:
        msg = (
            "Only the server knows what changed, and mode='offline' forbids to ask "
            "it; open the frozen query without."
        )
        raise OfflineError(msg)
    anew = replace(mirror.listings, mode="update", since=time.time())
    now = look_again(anew, pool, lock, lock.images, search=True)
    return compare(lock, now, kept_of(mirror, lock), lost)


def kept_of(mirror: Mirror, lock: Lock) -> frozenset[int]:
    """Tell which frozen images are in a store with their bytes.

    Parameters
    ----------
    mirror : Mirror
        The store.
    lock : Lock
        What was frozen.

    Returns
    -------
    frozenset of int
        Their ids.
    """
    files = (each.file for each in lock.images)
    return frozenset(each.image_id for each in files if each and mirror.has(each))
