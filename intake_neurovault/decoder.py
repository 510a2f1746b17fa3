"""Neurosynth's words for images: asked for once, checked, and kept beside them.

Words are an extra, and Neurosynth is often away: it has a patience of its own, and
what it does not say never costs an image.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from intake_neurovault.client import Client
from intake_neurovault.errors import (
    AnswerError,
    Failure,
    NeuroVaultError,
    OfflineError,
    ServerError,
    StoreError,
)
from intake_neurovault.listings import Listings
from intake_neurovault.neurosynth import DEFAULT_WORDS_URL, check_words, words_request
from intake_neurovault.notices import warn
from intake_neurovault.pool import ErrorPolicy, Pool, Report
from intake_neurovault.records import Collection, Image

logger = logging.getLogger(__name__)

Pair = tuple[Image, Collection]

TIMEOUT = 10.0
"""Seconds that Neurosynth is waited for, as nilearn has it."""

MAX_RETRIES = 1
"""How often a question to Neurosynth is asked again at most."""

PATIENCE = 10
"""So many failures one after the other, and Neurosynth is asked no more."""


@dataclass(frozen=True)
class Words:
    """The Neurosynth words of a list of images."""

    weights: tuple[Mapping[str, float] | None, ...]
    """For each image the weight of each word; None where they could not be had."""
    failures: tuple[Failure, ...]
    """Why."""


@dataclass(frozen=True)
class Decoder:
    """Neurosynth, through one store."""

    listings: Listings
    """The store, and what may be asked."""
    pool: Pool
    """How many requests at a time, and what a failure does."""
    base: str = DEFAULT_WORDS_URL
    """Its address."""
    timeout: float = TIMEOUT
    """Seconds that it is waited for, unless NeuroVault itself is for less."""

    @classmethod
    def parse(cls, listings: Listings, pool: Pool, url: str | None = None) -> Decoder:
        """Build a decoder from what a user may write; nothing is requested.

        Parameters
        ----------
        listings : Listings
            The store, and what may be asked.
        pool : Pool
            How many requests at a time, and what a failure does; one never raises.
        url : str, optional
            Its address; ``INTAKE_NEUROVAULT_WORDS_URL``, then Neurosynth's public
            one, if absent.

        Returns
        -------
        Decoder
            The decoder.
        """
        named = os.environ.get("INTAKE_NEUROVAULT_WORDS_URL")
        policy: ErrorPolicy = "skip" if pool.errors == "skip" else "warn"
        base = url or named or DEFAULT_WORDS_URL
        return cls(listings, replace(pool, errors=policy), base)

    def words(self, images: Sequence[Pair]) -> Words:
        """Give the words of images.

        Parameters
        ----------
        images : sequence of (Image, Collection)
            Whose words, each with the collection it is in.

        Returns
        -------
        Words
            The weights in the order asked, and what failed.

        Raises
        ------
        ArgumentError
            If the address is none.

        Warns
        -----
        NeuroVaultWarning
            Under the policy ``warn``, if something cannot be had.
        """
        report = Report(self.pool.errors, patience=PATIENCE)
        weights: list[Mapping[str, float] | None] = []

        def ask(pair: Pair) -> Mapping[str, float]:
            return self.ask(*pair, hopeless=report.exhausted)

        with self.pool.map(ask, images) as outcomes:
            for (image, _), outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    place, why = words_request(self.base, image.id), str(outcome)
                    ids = image.id, image.collection_id
                    failure = Failure(*ids, place, why, outcome.attempts)
                    report.failed(failure, outcome)
                    weights.append(None)
                else:
                    report.succeeded()
                    weights.append(outcome)
        report.warn("fetched from Neurosynth")
        return Words(tuple(weights), tuple(report.failures))

    def ask(
        self, image: Image, collection: Collection, *, hopeless: bool = False
    ) -> Mapping[str, float]:
        """Give the words of one image.

        Parameters
        ----------
        image : Image
            Whose words.
        collection : Collection
            The collection it is in.
        hopeless : bool
            Whether to make do with what is on disk.

        Returns
        -------
        mapping of str to float
            The weight of each word.

        Raises
        ------
        OfflineError, AnswerError, ServerError
            If they are not on disk and cannot be fetched.
        """
        kept = self._kept(image)
        if kept is not None and self.listings.mode != "overwrite":
            return kept
        if self.listings.offline:
            msg = (
                f"The Neurosynth words of {image.label} are not in the store "
                f"{self.listings.store.root}; run once without mode='offline' to fetch "
                "them."
            )
            raise OfflineError(msg)
        if hopeless:
            msg = f"Neurosynth failed {PATIENCE} times in a row and was asked no more."
            raise ServerError(msg)
        words = self._fetched(image)
        try:
            content = {"data": {"values": words}}
            self.listings.store.save_words(image, collection, content)
        except StoreError as error:
            warn(f"{error}")
        return words

    def _fetched(self, image: Image) -> Mapping[str, float]:
        url = words_request(self.base, image.id)
        try:
            answer = self._client.json(url)
        except ServerError as error:
            what = str(error).partition(";")[0].removeprefix("Request: ").rstrip(".")
            msg = (
                f"No words of {image.label}: {what}; it may be under maintenance, name "
                "another address with words_url=, or pass fetch_neurosynth_words=False."
            )
            kept = ServerError(msg)
            kept.attempts = error.attempts
            raise kept from error
        try:
            return check_words(answer, image.label)
        except AnswerError as error:
            error.attempts = 1
            raise

    @property
    def _client(self) -> Client:
        client = self.listings.client
        return replace(
            client,
            timeout=min(client.timeout, self.timeout),
            retries=min(client.retries, MAX_RETRIES),
        )

    def _kept(self, image: Image) -> Mapping[str, float] | None:
        kept = self.listings.store.words(image.collection_id, image.id)
        try:
            return None if kept is None else check_words(kept, image.label)
        except AnswerError as error:
            # NOTE: nilearn keeps whatever it is answered.
            logger.warning("Passed over: the words of %s. %s", image.label, error)
            return None
