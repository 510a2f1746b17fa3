"""Fetching again what a store has lost."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from intake_neurovault.checkup import Examiner
from intake_neurovault.errors import (
    Failure,
    NeuroVaultError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.hemispheres import Hemisphere, hemisphere_of
from intake_neurovault.inventory import Item
from intake_neurovault.query import Query
from intake_neurovault.records import Image
from intake_neurovault.refs import Token
from intake_neurovault.sides import fetch_sides
from intake_neurovault.surfaces import surfaces_of
from intake_neurovault.vault import Vault

logger = logging.getLogger(__name__)

_Part = tuple[int, Hemisphere | None]
"""An image, and one hemisphere of it, or none for its volume."""


@dataclass(frozen=True)
class Mended:
    """What was fetched again, and what was not.

    Examples
    --------
    >>> Mended((3,)).to_json()
    {'mended': [3], 'failures': []}
    """

    images: tuple[int, ...] = ()
    """The images of which all is whole now that was not, with their records."""
    failures: tuple[Failure, ...] = ()
    """What could not be had."""

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        failures = [asdict(failure) for failure in self.failures]
        return {"mended": list(self.images), "failures": failures}


@dataclass(frozen=True)
class Mender:
    """Fetches what a store lacks from one server."""

    vault: Vault
    """The server and the store; of mode ``update`` and policy ``skip``."""
    tokens: tuple[Token, ...] = ()
    """The tokens of private collections."""

    def mend(self, wanted: Sequence[Item], changed: Sequence[Item] = ()) -> Mended:
        """Fetch images again, and their records; or the files of their hemispheres.

        Parameters
        ----------
        wanted : sequence of Item
            Images that are missing, or that lack a record, and missing surfaces.
        changed : sequence of Item
            Images and surfaces that are there, but not as they were downloaded. They
            go to the quarantine if another copy can be had.

        Returns
        -------
        Mended
            What is whole now, and what could not be had.

        Raises
        ------
        ArgumentError
            If a token is in an environment variable that is not set.
        UnreachableError
            If the server cannot be reached.
        StoreError
            If the store cannot be written.
        """
        ids = {item.image_id or 0: item.collection_id or 0 for item in wanted}
        ids |= {item.image_id or 0: item.collection_id or 0 for item in changed}
        if not ids:
            return Mended()
        self._knock(ids)
        images, failures = self._find(ids)
        found = {image.id for image in images}
        aside = dict(
            self._set_aside(item for item in changed if item.image_id in found)
        )
        parts = {_part(item) for item in (*wanted, *changed)}
        try:
            failures += self._fetch(images, parts)
        except ServerError as error:
            failures += error.failures
        finally:
            stays = self._put_back(aside)
        whole = tuple(
            image.id
            for image in images
            if image.id not in stays and self._is_whole(image, parts)
        )
        failed = _each_once(ids, whole, failures)
        return Mended(whole, failed)

    def _knock(self, ids: Mapping[int, int]) -> None:
        """Make sure that the server is there, and that the tokens are known."""
        for token in self.tokens:
            token.reveal()
        try:
            self.vault.mirror.listings.image(next(iter(ids)))
        except UnreachableError as error:
            count = "1 image waits" if len(ids) == 1 else f"{len(ids)} images wait"
            msg = (
                f"{count} to be fetched again, and the server "
                f"{self.vault.mirror.client.url} cannot be reached; repair the store "
                "when the network is back, or name another server with url=."
            )
            raise UnreachableError(msg) from error
        except NeuroVaultError as error:
            logger.debug("The server is there: %s", error)

    def _find(self, ids: Mapping[int, int]) -> tuple[list[Image], list[Failure]]:
        images, failures = [], []
        if self.tokens:
            found = self.vault.search(Query.parse(collection_ids=self.tokens))
            images += [image for image in found.images if image.id in ids]
            failures += [each for each in found.failures if each.id in {None, *ids}]
        known = {image.id for image in images}
        rest = [number for number in ids if number not in known]
        if rest:
            found = self.vault.search(Query.parse(image_ids=rest))
            images += found.images
            failures += found.failures
        return images, failures

    def _set_aside(self, items: Iterable[Item]) -> Iterator[tuple[Item, str]]:
        examiner = Examiner(self.vault.mirror.store.root)
        for item in items:
            if aside := examiner.set_aside(item):
                yield item, aside

    def _put_back(self, aside: Mapping[Item, str]) -> set[int | None]:
        """Give back changed images of which no other copy could be had."""
        root = self.vault.mirror.store.root
        stays = {item: aside[item] for item in aside if not (root / item.path).exists()}
        for item, path in stays.items():
            (root / path).rename(root / item.path)
        return {item.image_id for item in stays}

    def _fetch(
        self, images: Sequence[Image], parts: Collection[_Part]
    ) -> list[Failure]:
        volumes = [image for image in images if (image.id, None) in parts]
        failures = self.vault.fetch(volumes).failures
        sides = fetch_sides(self.vault.mirror, self.vault.pool, images, only=parts)
        return [*failures, *sides.failures]

    def _is_whole(self, image: Image, parts: Collection[_Part]) -> bool:
        mirror, volume = self.vault.mirror, image.file
        surfaces = surfaces_of(image, mirror.client.url)
        for number, hemisphere in parts:
            if number != image.id:
                continue
            file = volume if hemisphere is None else surfaces.get(hemisphere)
            if file is None or mirror.kept(file) is None:
                return False
            if hemisphere is None and not mirror.store.is_described(file):
                return False
        return True


def _part(item: Item) -> _Part:
    surface = item.kind == "surface"
    return item.image_id or 0, hemisphere_of(item.path) if surface else None


def _each_once(
    ids: Mapping[int, int], whole: Iterable[int], failures: Iterable[Failure]
) -> tuple[Failure, ...]:
    """Give one failure for each image that is not whole, and those of no image."""
    lost = {number: ids[number] for number in ids if number not in set(whole)}
    found: dict[int, Failure] = {}
    others = []
    for failure in failures:
        if failure.id is None:
            others.append(failure)
        elif failure.id in lost:
            found.setdefault(failure.id, failure)
    for number, collection_id in lost.items():
        why = f"Image {number} was not fetched, since too much had failed before."
        found.setdefault(number, Failure(number, collection_id, "", why, 0))
    return (*others, *found.values())
