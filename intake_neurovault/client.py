"""What NeuroVault's server knows and holds: records, lists, and verified files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from intake_neurovault import diagnosis
from intake_neurovault.endpoint import (
    parse_hosts,
    parse_retries,
    parse_server,
    parse_timeout,
)
from intake_neurovault.errors import PrivateError
from intake_neurovault.pages import Page
from intake_neurovault.paging import Listing, collect
from intake_neurovault.records import CollectionRef, ImageFile, Token
from intake_neurovault.resource import Resource, without_token
from intake_neurovault.retry import Policy, Trouble
from intake_neurovault.transfer import (
    Progress,
    Receipt,
    address_of,
    fetch_file,
    network,
    resource_of,
)

__all__ = ["NEUROVAULT", "Client", "Listing", "Receipt"]

T = TypeVar("T")

NEUROVAULT = "https://neurovault.org"
"""The public server."""
# NOTE: the list of collections is unordered, and moves whenever one is edited; a
# further pass with other pages finds what slipped through the first.
_COLLECTION_PAGES = (200, 1000, 500)
_IMAGE_PAGES = (200, 200)


@dataclass(frozen=True)
class Client:
    """One server, and how hard to try.

    Plain values only, so a client may be copied to any worker.

    Examples
    --------
    >>> Client("https://neurovault.org", timeout=10).retries
    4
    """

    url: str = NEUROVAULT
    """Address of the server, without a slash at its end."""
    timeout: float = 30.0
    """Seconds to wait for a connection, and for each piece of an answer."""
    retries: int = 4
    """How often a failed request is made again."""
    trusted_hosts: tuple[str, ...] = ()
    """Hosts besides the server's own from which files are accepted."""
    backoff: float = 0.5
    """Seconds before a request is made again; doubled each time."""

    @classmethod
    def parse(
        cls,
        *,
        url: str | None = None,
        timeout: float | str = 30,
        retries: int | str = 4,
        trusted_hosts: str | Iterable[str] = (),
    ) -> Client:
        """Build a client from what a user may write; nothing is requested.

        Parameters
        ----------
        url : str, optional
            Address of the server, with or without ``/api``; the environment
            variable ``INTAKE_NEUROVAULT_URL``, then the public server, if absent.
        timeout : float
            Seconds, positive.
        retries : int
            How often a failed request is made again; 0 for never.
        trusted_hosts : str or iterable of str
            Hosts, such as ``"files.lab.org"``, from which files are accepted.

        Returns
        -------
        Client
            The client.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.

        Examples
        --------
        >>> Client.parse(url="https://neurovault.org/api/").url
        'https://neurovault.org'
        """
        address = url or os.environ.get("INTAKE_NEUROVAULT_URL") or NEUROVAULT
        return cls(
            parse_server(address),
            parse_timeout(timeout),
            parse_retries(retries),
            parse_hosts(trusted_hosts),
        )

    def collections(self, at_once: int = 1) -> Listing:
        """List all public collections.

        Parameters
        ----------
        at_once : int
            Most pages of the list that are asked for at a time.

        Returns
        -------
        Listing
            Their records, ascending by id, and what could not be had.

        Raises
        ------
        ServerError
            If nothing could be had.
        """
        resource = self._resource("/api/collections/", "The list of collections")
        return _delivered(self._listing(resource, _COLLECTION_PAGES, None, at_once))

    def collection(self, ref: CollectionRef) -> dict[str, Any]:
        """Give the record of one collection.

        Parameters
        ----------
        ref : int or Token
            Its id, or the token of a private one.

        Returns
        -------
        dict
            The record as served; that of a private collection holds its token.

        Raises
        ------
        MissingError, PrivateError, ServerError
            If it cannot be had; an id that is an image's is told as such.
        """
        resource = self._resource(
            f"/api/collections/{_key(ref)}/", diagnosis.name_of(ref)
        )
        number = None if isinstance(ref, Token) else ref
        outcome = self._record(resource, number)
        return self._given(outcome, ref)

    def images(self, ref: CollectionRef, at_once: int = 1) -> Listing:
        """List the images of one collection.

        Parameters
        ----------
        ref : int or Token
            Its id, or the token of a private one.
        at_once : int
            Most pages of the list that are asked for at a time.

        Returns
        -------
        Listing
            Their records, ascending by id, and what could not be had; those of a
            private collection hold its token.

        Raises
        ------
        MissingError, PrivateError, ServerError
            If nothing could be had; an id that is an image's is told as such.
        """
        what = f"{diagnosis.name_of(ref)}, list of images"
        resource = self._resource(f"/api/collections/{_key(ref)}/images/", what)
        number = None if isinstance(ref, Token) else ref
        outcome = self._listing(resource, _IMAGE_PAGES, number, at_once)
        return self._given(outcome, ref)

    def image(self, image_id: int, token: Token | None = None) -> dict[str, Any]:
        """Give the record of one image.

        Parameters
        ----------
        image_id : int
            Its id.
        token : Token, optional
            The token of its collection, if that is private.

        Returns
        -------
        dict
            The record as served; that of a private image holds the token.

        Raises
        ------
        MissingError, ServerError
            If it cannot be had; an id that is a collection's is told as such.
        """
        path, what = "/api/images/", f"Image {image_id}"
        resource = self._resource(f"{path}{_image_key(image_id, token)}/", what)
        outcome = self._record(resource, image_id)
        if isinstance(outcome, Trouble):
            raise diagnosis.about_image(
                outcome,
                self.url,
                image_id,
                token=token,
                is_collection=lambda: self._exists(f"/api/collections/{image_id}/"),
            )
        return outcome

    def download(
        self, file: ImageFile, target: Path, progress: Progress | None = None
    ) -> Receipt:
        """Fetch one file, whole and checked, as ``.nii.gz``.

        Parameters
        ----------
        file : ImageFile
            What to fetch.
        target : Path
            A temporary file beside the final one; may exist. After a failure it is
            left in any state.
        progress : callable, optional
            Called with the bytes of every piece; negative after a vain attempt.

        Returns
        -------
        Receipt
            What was written.

        Raises
        ------
        MissingError, PrivateError, ServerError
            If the server does not give it.
        CorruptFileError
            If what it gives is damaged, not NIfTI, or not of the recorded size.
        StoreError
            If it cannot be written.
        """
        where, how = self._file(file), self._policy
        return _delivered(
            fetch_file(where, how, file, target=target, progress=progress)
        )

    def is_unmodified(self, file: ImageFile, since: str) -> bool:
        """Tell whether the bytes of a file are still the same on the server.

        Parameters
        ----------
        file : ImageFile
            The file.
        since : str
            The header ``Last-Modified`` with which they came.

        Returns
        -------
        bool
            False also if the server does not say.

        Raises
        ------
        ServerError
            If the server does not answer.
        """
        where = self._file(file)
        found: bool | Trouble = network().is_unmodified(where, self._policy, since)
        return _delivered(found)

    def json(self, url: str, timeout: float | None = None) -> object:
        """Give what any address answers in JSON.

        Parameters
        ----------
        url : str
            The whole address, on any server.
        timeout : float, optional
            Seconds, in place of the client's own.

        Returns
        -------
        object
            What the JSON says.

        Raises
        ------
        ServerError
            If there is none.
        """
        shown = without_token(url)
        resource = Resource(url, shown, "Request", self.trusted_hosts)
        waits = self.timeout if timeout is None else timeout
        policy = replace(self._policy, timeout=waits)
        return _delivered(network().get_json(resource, policy))

    def file_url(self, file: ImageFile, *, shown: bool = False) -> str:
        """Give the address of a file.

        Parameters
        ----------
        file : ImageFile
            The file.
        shown : bool
            Whether it is to be shown: then a private collection's number stands
            where its token belongs.

        Returns
        -------
        str
            The address; without `shown` it is a secret if there is a token.

        Raises
        ------
        ArgumentError
            If the token is in an environment variable that is not set.

        Examples
        --------
        >>> file = ImageFile(3, 1, "/media/images/1/t.nii.gz", None, None)
        >>> Client("https://neurovault.org").file_url(file)
        'https://neurovault.org/media/images/1/t.nii.gz'
        """
        return address_of(self.url, file, shown=shown)

    @property
    def _policy(self) -> Policy:
        return Policy(self.timeout, self.retries + 1, self.backoff)

    def _resource(self, path: str, what: str) -> Resource:
        url = f"{self.url}{path}"
        return Resource(url, without_token(url), what, self.trusted_hosts)

    def _file(self, file: ImageFile) -> Resource:
        return resource_of(self.url, file, self.trusted_hosts)

    def _record(
        self, resource: Resource, number: int | None
    ) -> dict[str, Any] | Trouble:
        asked = resource, self._policy, partial(diagnosis.record_of, resource, number)
        found: dict[str, Any] | Trouble = network().read_json(*asked)
        return found

    def _listing(
        self, resource: Resource, sizes: Sequence[int], number: int | None, at_once: int
    ) -> Listing | Trouble:
        def ask(offset: int, limit: int, policy: Policy) -> Page | Trouble:
            query = f"?limit={limit}&offset={offset}"
            url, shown = f"{resource.url}{query}", f"{resource.shown}{query}"
            page = replace(resource, url=url, shown=shown)
            asked = page, policy, lambda answer: Page.parse(answer, page)
            found: Page | Trouble = network().read_json(*asked)
            return found

        return collect(
            ask,
            self._policy,
            sizes=sizes,
            shown=resource.shown,
            collection_id=number,
            at_once=at_once,
        )

    def _given(self, outcome: T | Trouble, ref: CollectionRef) -> T:
        if not isinstance(outcome, Trouble):
            return outcome
        path = f"/api/images/{ref}/"
        raise diagnosis.about_collection(
            outcome, self.url, ref, is_image=lambda: self._exists(path)
        )

    def _exists(self, path: str) -> bool:
        once = replace(self._policy, attempts=1)
        answer = network().get_json(self._resource(path, "Request"), once)
        if isinstance(answer, Trouble):
            return isinstance(answer.error, PrivateError)
        return isinstance(answer, dict) and "id" in answer


def _delivered(outcome: T | Trouble) -> T:
    if isinstance(outcome, Trouble):
        raise outcome.error
    return outcome


def _image_key(image_id: int, token: Token | None) -> str:
    return f"{token.reveal()}-{image_id}" if token else f"{image_id}"


def _key(ref: CollectionRef) -> str:
    return ref.reveal() if isinstance(ref, Token) else f"{ref}"
