"""What to look for: the arguments of a search, parsed into one frozen value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from intake_neurovault.filters import Filter, parse_filter
from intake_neurovault.notices import warn
from intake_neurovault.parameters import (
    BASIC_COLLECTION_TERMS,
    BASIC_IMAGE_TERMS,
    DEFAULT_MAX_IMAGES,
    DEFAULTS,
    parse_cap,
    parse_switch,
    reject_unknown,
)
from intake_neurovault.refs import (
    CollectionRef,
    Token,
    parse_collection_ref,
    parse_id,
    parse_many,
)
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS

__all__ = [
    "BASIC_COLLECTION_TERMS",
    "BASIC_IMAGE_TERMS",
    "DEFAULTS",
    "DEFAULT_MAX_IMAGES",
    "Query",
    "reject_unknown",
]


_parse_image_id = partial(parse_id, what="every item of image_ids")


@dataclass(frozen=True)
class Query:
    """What to look for.

    Equal queries ask for the same, however they were written.

    Examples
    --------
    >>> query = Query.parse(image_terms={"map_type": "Z map"}, max_images=50)
    >>> query.to_arguments()
    {'image_terms': {'map_type': 'Z map'}, 'max_images': 50}
    """

    image_filter: Filter
    """What the images must fulfil."""
    collection_filter: Filter
    """What their collections must fulfil."""
    image_ids: tuple[int, ...] = ()
    """Exactly these images."""
    collection_ids: tuple[CollectionRef, ...] = ()
    """All images of these collections."""
    max_images: int | None = None
    """At most so many; None for all."""
    words: bool = False
    """Whether Neurosynth's words are wanted."""
    explicit: bool = False
    """Whether ids were given, even none."""

    def __post_init__(self) -> None:
        given = self.explicit or bool(self.image_ids or self.collection_ids)
        object.__setattr__(self, "explicit", given)

    @classmethod
    def parse(
        cls,
        *,
        image_terms: Mapping[str, Any] | Filter | None = None,
        collection_terms: Mapping[str, Any] | Filter | None = None,
        image_ids: object = None,
        collection_ids: object = None,
        max_images: object = DEFAULT_MAX_IMAGES,
        fetch_neurosynth_words: object = False,
    ) -> Query:
        """Read the arguments of a search.

        Parameters
        ----------
        image_terms, collection_terms : mapping or Filter, optional
            Conditions, instead of the basic ones. Absent, the basic ones hold, or
            none at all if ids are given; ``{}`` stands for no condition.
        image_ids : int or iterable of int, optional
            Exactly these images. Text, as templates make it, may be one number or a
            list in brackets.
        collection_ids : int, str, Token or iterable of these, optional
            All images of these collections; a private one is named by its token.
        max_images : int, optional
            At most so many; None, a negative number or infinity for all. The default
            of 100 does not apply to ids.
        fetch_neurosynth_words : bool
            Whether Neurosynth's words are wanted.

        Returns
        -------
        Query
            The query.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.

        Warns
        -----
        NeuroVaultWarning
            If the arguments name collections that contradict each other.

        Examples
        --------
        >>> Query.parse(image_ids=[32015, "32016"]).image_ids
        (32015, 32016)
        """
        images = parse_many(image_ids, _parse_image_id, "image_ids")
        collections = parse_many(collection_ids, parse_collection_ref, "collection_ids")
        explicit = images is not None or collections is not None
        basic_images, basic_collections = _basic_filters(explicit)
        cap = None if explicit and max_images is DEFAULT_MAX_IMAGES else max_images
        query = cls(
            image_filter=basic_images
            if image_terms is None
            else parse_filter(image_terms, kinds=IMAGE_KINDS, where="image_terms"),
            collection_filter=basic_collections
            if collection_terms is None
            else parse_filter(
                collection_terms, kinds=COLLECTION_KINDS, where="collection_terms"
            ),
            image_ids=images or (),
            collection_ids=collections or (),
            max_images=parse_cap(cap),
            words=parse_switch(fetch_neurosynth_words, "fetch_neurosynth_words"),
            explicit=explicit,
        )
        _warn_of_contradiction(query)
        return query

    @property
    def max_images_is_default(self) -> bool:
        """Whether the cap is the one that nobody needs to ask for.

        Examples
        --------
        >>> Query.parse().max_images_is_default
        True
        """
        return not self.explicit and self.max_images == DEFAULT_MAX_IMAGES

    def to_arguments(self) -> dict[str, Any]:
        """Write the arguments that parse to an equal query.

        Returns
        -------
        dict
            JSON, and only what differs from the defaults.

        Raises
        ------
        ArgumentError
            If a private collection's token is literal.

        Examples
        --------
        >>> Query.parse(collection_ids="env:MY_COLLECTION").to_arguments()
        {'collection_ids': ['env:MY_COLLECTION']}
        """
        basic_images, basic_collections = _basic_filters(self.explicit)
        arguments: dict[str, Any] = {}
        if self.image_filter != basic_images:
            arguments["image_terms"] = self.image_filter.to_mapping()
        if self.collection_filter != basic_collections:
            arguments["collection_terms"] = self.collection_filter.to_mapping()
        if self.image_ids or (self.explicit and not self.collection_ids):
            arguments["image_ids"] = list(self.image_ids)
        if self.collection_ids:
            arguments["collection_ids"] = [
                ref.to_json() if isinstance(ref, Token) else ref
                for ref in self.collection_ids
            ]
        if self.max_images != (None if self.explicit else DEFAULT_MAX_IMAGES):
            arguments["max_images"] = self.max_images
        if self.words:
            arguments["fetch_neurosynth_words"] = True
        return arguments

    def to_json(self) -> dict[str, Any]:
        """Write the query in full, to say where data come from.

        Returns
        -------
        dict
            JSON. The conditions stand there also where they are the basic ones; a
            literal token does not.

        Examples
        --------
        >>> Query.parse(image_ids=[3]).to_json()
        {'image_terms': {}, 'collection_terms': {}, 'max_images': None, \
'fetch_neurosynth_words': False, 'image_ids': [3]}
        """
        written: dict[str, Any] = {
            "image_terms": self.image_filter.to_mapping(),
            "collection_terms": self.collection_filter.to_mapping(),
            "max_images": self.max_images,
            "fetch_neurosynth_words": self.words,
        }
        if self.explicit:
            written["image_ids"] = list(self.image_ids)
        if self.collection_ids:
            written["collection_ids"] = [_name(ref) for ref in self.collection_ids]
        return written

    def fingerprint(self) -> str:
        """Give a name that equal queries share, in any process.

        Returns
        -------
        str
            40 hexadecimal digits. The order of conditions makes no difference, that
            of ids does: the result is in their order.

        Examples
        --------
        >>> Query.parse(image_ids=[3]).fingerprint() == Query.parse(
        ...     image_ids="3").fingerprint()
        True
        """
        parts = [
            self.image_filter.canonical(),
            self.collection_filter.canonical(),
            self.image_ids,
            [_digest(ref) for ref in self.collection_ids],
            self.max_images,
            self.words,
            self.explicit,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    def describe(self) -> str:
        """Put the query into words, in one line.

        Returns
        -------
        str
            Ids, conditions and cap.

        Examples
        --------
        >>> Query.parse(image_ids=[3, 5], image_terms={"map_type": "Z map"}).describe()
        'images 3, 5; where map_type is "Z map"'
        """
        parts = [
            f"{what} {', '.join(map(str, ids[:5]))}{', …' if ids[5:] else ''}"
            for what, ids in (
                ("images", self.image_ids),
                ("collections", [_name(ref) for ref in self.collection_ids]),
            )
            if ids
        ] or ["no images" if self.explicit else "images"]
        if self.image_filter != Filter():
            parts.append(f"where {self.image_filter.describe()}")
        if self.collection_filter != Filter():
            parts.append(f"in collections where {self.collection_filter.describe()}")
        if self.max_images is not None:
            parts.append(f"at most {self.max_images}")
        return "; ".join(parts)

    def collections_to_visit(self) -> tuple[CollectionRef, ...] | None:
        """Name the collections in which there can be matching images.

        Returns
        -------
        tuple of int or Token, or None
            The explicit ones, or those that a condition of equality names; None when
            it can be any. Without the ones that a condition rules out.

        Examples
        --------
        >>> Query.parse(image_terms={"collection_id": [20, 7]}).collections_to_visit()
        (7, 20)
        """
        wanted = _both(
            _equals(self.image_filter, "collection_id"),
            _equals(self.collection_filter, "id"),
        )
        if self.explicit:
            return tuple(
                ref
                for ref in self.collection_ids
                if wanted is None or isinstance(ref, Token) or ref in wanted
            )
        return None if wanted is None else tuple(sorted(wanted))

    def images_to_visit(self) -> tuple[int, ...] | None:
        """Name the images that have to be looked at one by one.

        Returns
        -------
        tuple of int, or None
            The explicit ones, or those that a condition of equality names; None when
            collections must be looked through.

        Examples
        --------
        >>> Query.parse(image_terms={"id": 32015}).images_to_visit()
        (32015,)
        """
        if self.explicit:
            return self.image_ids
        wanted = _equals(self.image_filter, "id")
        return None if wanted is None else tuple(sorted(wanted))


@lru_cache(maxsize=2)
def _basic_filters(explicit: bool) -> tuple[Filter, Filter]:
    if explicit:
        return Filter(), Filter()
    return (
        parse_filter(BASIC_IMAGE_TERMS, kinds=IMAGE_KINDS, where="image_terms"),
        parse_filter(
            BASIC_COLLECTION_TERMS, kinds=COLLECTION_KINDS, where="collection_terms"
        ),
    )


# Gives the ids that a field may equal at most, or None when it may be any.
def _equals(terms: Filter, field: str) -> frozenset[int] | None:
    if field not in terms.fields():
        return None
    bound = terms.to_mapping().get(field)
    tests = bound if isinstance(bound, dict) else {"$in": bound}
    wanted = None
    for operator in ("$eq", "$in"):
        if tests.get(operator) is not None:
            wanted = _both(wanted, _whole(tests[operator]))
    return wanted


def _whole(bound: object) -> frozenset[int]:
    items = bound if isinstance(bound, list) else [bound]
    numbers = (item for item in items if isinstance(item, int | float))
    return frozenset(int(n) for n in numbers if n > 0 and n == n // 1)


def _both(
    one: frozenset[int] | None, other: frozenset[int] | None
) -> frozenset[int] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _name(ref: CollectionRef) -> int | str:
    if isinstance(ref, Token):
        return "(private)" if ref.env is None else ref.to_json()
    return ref


def _digest(ref: CollectionRef) -> int | str:
    if isinstance(ref, Token) and ref.secret is not None:
        return _slow_digest(ref.secret)
    return _name(ref)


@lru_cache(maxsize=64)
def _slow_digest(secret: str) -> str:
    # NOTE: fingerprints are shown in names; eight capitals behind a quick digest
    # could be found by trying them all.
    salt = b"intake-neurovault query"
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, 100_000).hex()


def _warn_of_contradiction(query: Query) -> None:
    refs = query.collection_ids
    # NOTE: which number a token stands for is not known yet.
    numbers = frozenset(ref for ref in refs if isinstance(ref, int))
    named = {
        "image_terms": _equals(query.image_filter, "collection_id"),
        "collection_terms": _equals(query.collection_filter, "id"),
        "collection_ids": numbers if refs and len(numbers) == len(refs) else None,
    }
    given = {where: ids for where, ids in named.items() if ids is not None}
    if len(given) > 1 and not frozenset.intersection(*given.values()):
        said = " but ".join(f"{w} asks for {sorted(i)[:5]}" for w, i in given.items())
        msg = (
            f"Contradictory collection ids: {said}, so that no image can match; name "
            "collections in one of these arguments only."
        )
        warn(msg)
