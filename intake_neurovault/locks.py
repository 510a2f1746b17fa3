"""Locks: what a query found, down to the bytes, as a value that outlives the server.

A lock holds the records of images and collections as they were, and for each image
which file of the server it is and the SHA-256 of its bytes. It says all that a result
needs, so that nothing has to be asked; it never holds a token. Nothing here touches
server or store.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from intake_neurovault.errors import Failure, LockError, NeuroVaultError
from intake_neurovault.filters import Step
from intake_neurovault.found import Found
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.refs import Token, parse_id

FORMAT = 1
"""Version of the content of lock files; of any other version none is read."""

KIND = "frozen query of intake-neurovault"
"""What a lock file says that it is."""


_SHA256 = re.compile("[0-9a-f]{64}")

NOT_FROZEN = (
    "This result is not frozen: result.freeze('maps.yaml') freezes it, and "
    "search(frozen='maps.lock.json') opens it."
)
"""What is said where only a frozen result will do."""


@dataclass(frozen=True, eq=False)
class Lock:
    """What a query found, frozen.

    Locks with the same content are equal, wherever their files are.

    Examples
    --------
    >>> lock = Lock("2024-05-01T12:00:00+00:00", "https://neurovault.org",
    ...             Query.parse(image_ids=[3]), (), {})
    >>> Lock.from_json(lock.to_json()) == lock
    True
    """

    frozen: str
    """When, ISO 8601 in UTC."""
    url: str
    """The server."""
    query: Query
    """What was looked for."""
    images: tuple[Image, ...]
    """What was found; their files have the SHA-256 that they must have."""
    collections: Mapping[int, Collection]
    """The collections they are in, by id."""
    failures: tuple[Failure, ...] = ()
    """What could not be had, and is left out."""
    steps: tuple[Step, ...] = ()
    """How many records each term removed."""
    fetched: float | None = None
    """When the server gave the oldest listing that was used (Unix time)."""
    packages: tuple[tuple[str, str], ...] = ()
    """The versions of the packages on which values on a grid depend."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lock) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def day(self) -> str:
        """When it was frozen, without the time of day."""
        return self.frozen[:10]

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the content."""
        return _digest(self._content())

    @cached_property
    def found(self) -> Found:
        """What a search gives that finds what was frozen."""
        return Found(
            self.images,
            self.collections,
            self.failures,
            self.steps,
            self.fetched,
            truncated=False,
        )

    def covers(self, query: Query) -> bool:
        """Tell whether a query asks for all that was frozen.

        Parameters
        ----------
        query : Query
            The query.

        Returns
        -------
        bool
            False if it has further conditions.
        """
        return query == replace(self.query, words=query.words)

    def written(self, query: Query) -> dict[str, Any]:
        """Write what a query adds to the lock.

        Parameters
        ----------
        query : Query
            The frozen query, or what chooses of its images.

        Returns
        -------
        dict
            Arguments of a search beside ``frozen``.

        Raises
        ------
        ArgumentError
            If it names a private collection by its literal token.
        """
        if self.covers(query):
            return {"fetch_neurosynth_words": True} if query.words else {}
        # NOTE: of frozen images nobody has other terms, or a limit, by default.
        return {
            **query.to_arguments(),
            "image_terms": query.image_filter.to_mapping(),
            "collection_terms": query.collection_filter.to_mapping(),
            "max_images": query.max_images,
        }

    def to_json(self) -> dict[str, Any]:
        """Write the content of a lock file.

        Returns
        -------
        dict
            JSON types only, with a checksum; never a token.

        Raises
        ------
        ArgumentError
            If a private collection's token is literal.
        """
        content = self._content()
        return {**content, "checksum": _digest(content)}

    @classmethod
    def from_json(cls, content: object, name: str = "The lock") -> Lock:
        """Read the content of a lock file.

        Parameters
        ----------
        content : object
            What its JSON says.
        name : str
            What messages call the file.

        Returns
        -------
        Lock
            The lock.

        Raises
        ------
        LockError
            If it is none, of another format, or not as it was written.

        Examples
        --------
        >>> Lock.from_json({"kind": KIND, "format": 99})
        Traceback (most recent call last):
            ...
        intake_neurovault.errors.LockError: The lock is of format 99, and this \
version of intake-neurovault reads format 1; upgrade the package to open it.
        """
        if not isinstance(content, dict) or content.get("kind") != KIND:
            msg = (
                f"{name} is not the lock of a frozen query; result.freeze('maps.yaml') "
                "writes one as maps.lock.json beside the catalog."
            )
            raise LockError(msg)
        if content.get("format") != FORMAT:
            msg = (
                f"{name} is of format {content.get('format')}, and this version of "
                f"intake-neurovault reads format {FORMAT}; upgrade the package to "
                "open it."
            )
            raise LockError(msg)
        rest = {key: value for key, value in content.items() if key != "checksum"}
        try:
            if content.get("checksum") == _digest(rest):
                return _parsed(rest)
        except (KeyError, TypeError, ValueError, NeuroVaultError) as error:
            raise LockError(_altered(name)) from error
        raise LockError(_altered(name))

    def _content(self) -> dict[str, Any]:
        return {
            "kind": KIND,
            "format": FORMAT,
            "frozen": self.frozen,
            "url": self.url,
            "query": self.query.to_json(),
            "packages": dict(self.packages),
            "listed": self.fetched,
            "terms": [asdict(step) for step in self.steps],
            "left_out": [asdict(failure) for failure in self.failures],
            "collections": [
                _collection_row(each) for each in self.collections.values()
            ],
            "images": [_image_row(each) for each in self.images],
        }


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _altered(name: str) -> str:
    return (
        f"{name} was altered or damaged after it was written (its checksum says so); "
        "put a copy of the original in its place, or freeze the query again."
    )


def _collection_row(collection: Collection) -> dict[str, Any]:
    token = collection.token
    key = {} if token is None else {"token": token.to_json()}
    return {"id": collection.id, **key, "record": dict(collection.raw)}


def _image_row(image: Image) -> dict[str, Any]:
    file = image.file
    if file is None or file.sha256 is None:
        msg = f"{image.label} has no file of known bytes, and cannot be frozen."
        raise LockError(msg)
    return {
        "id": image.id,
        "collection_id": image.collection_id,
        "path": file.path,
        "host": file.host,
        "size": file.file_size,
        "modify_date": file.modify_date,
        "sha256": file.sha256,
        "record": dict(image.raw),
    }


def _parsed(content: Mapping[str, Any]) -> Lock:
    tokens = {
        row["id"]: Token.parse(row["token"])
        for row in content["collections"]
        if "token" in row
    }
    collections = {
        row["id"]: Collection.from_json(row["record"], token=tokens.get(row["id"]))
        for row in content["collections"]
    }
    return Lock(
        frozen=content["frozen"],
        url=content["url"],
        query=Query.parse(**content["query"]),
        images=tuple(
            _image(row, content["url"], tokens.get(row["collection_id"]))
            for row in content["images"]
        ),
        collections=collections,
        failures=tuple(Failure(**row) for row in content["left_out"]),
        steps=tuple(Step(**row) for row in content["terms"]),
        fetched=content["listed"],
        packages=tuple(content["packages"].items()),
    )


def _image(row: Mapping[str, Any], url: str, token: Token | None) -> Image:
    # NOTE: what becomes part of an address or of the name of a file is looked at
    # twice, since anybody may write a lock.
    odd = _SHA256.fullmatch(row["sha256"]) is None or not row["path"].startswith("/")
    ids = parse_id(row["id"]), parse_id(row["collection_id"])
    if odd or not (row["size"] is None or row["size"] > 0):
        msg = f"{row} is no file"
        raise ValueError(msg)
    image = Image.from_json(row["record"], base_url=url, token=token)
    file = ImageFile(
        image_id=ids[0],
        collection_id=ids[1],
        path=row["path"],
        file_size=row["size"],
        modify_date=row["modify_date"],
        host=row["host"],
        token=token,
        sha256=row["sha256"],
    )
    return replace(image, file=file)
