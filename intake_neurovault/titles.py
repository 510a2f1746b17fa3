"""How collections are called in a list, and which one is meant by a name."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from intake_neurovault.errors import ArgumentError
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import CollectionRef, Token, parse_collection_ref, shown

_FACTS = ("name", "authors", "journal_name", "DOI")
_TEXTS = (
    "name",
    "description",
    "authors",
    "DOI",
    "preprint_DOI",
    "journal_name",
    "owner_name",
)
"""The fields in which words are searched for."""

_LONGEST_NAME = 48
_NUMBERED = re.compile(r"(?:\w*_)?([0-9]{1,18})", re.ASCII)


def name_of(record: Collection | Image) -> str:
    """Name a collection or an image so that it reads well, its number at the end.

    Parameters
    ----------
    record : Collection or Image
        Its record.

    Returns
    -------
    str
        Small letters, digits and underscores: its title, as far as that is of such
        letters, and its number.

    Examples
    --------
    >>> name_of(Collection.from_json({"id": 1952, "name": "Émotion: BrainPedia"}))
    'emotion_brainpedia_1952'
    """
    plain = unicodedata.normalize("NFKD", record.metadata.get("name") or "").lower()
    words = re.sub(r"[^a-z0-9]+", "_", plain.encode("ascii", "ignore").decode())
    title = words.strip("_")
    if len(title) > _LONGEST_NAME:
        # NOTE: no half words, unless it is a single one.
        title = title[:_LONGEST_NAME].rpartition("_")[0] or title[:_LONGEST_NAME]
    return f"{title or type(record).__name__.lower()}_{record.id}"


def description_of(collection: Collection) -> str:
    """Describe a collection in one line.

    Parameters
    ----------
    collection : Collection
        Its record.

    Returns
    -------
    str
        Title, authors, journal, DOI and number of images, as far as they are known.

    Examples
    --------
    >>> about = {"id": 1952, "name": "BrainPedia", "number_of_images": 6573}
    >>> description_of(Collection.from_json(about))
    'BrainPedia; 6,573 images'
    """
    facts = [collection.metadata.get(name) for name in _FACTS]
    number = collection.metadata.get("number_of_images")
    if number is not None:
        facts.append(f"{number:,} image{'' if number == 1 else 's'}")
    return "; ".join(" ".join(str(fact).split()) for fact in facts if fact is not None)


def provisional_name(ref: CollectionRef) -> str:
    """Name a collection of which nothing is known yet.

    Parameters
    ----------
    ref : int or Token
        The collection.

    Returns
    -------
    str
        A name by which it is found as well, unless its token is literal.

    Examples
    --------
    >>> provisional_name(1952), provisional_name(Token(env="MY_COLLECTION"))
    ('collection_1952', 'env:MY_COLLECTION')
    """
    if isinstance(ref, Token):
        return ref.to_json() if ref.env else "private_collection"
    return f"collection_{ref}"


def ref_in(key: object) -> CollectionRef:
    """Tell which collection is meant by a name.

    Parameters
    ----------
    key : int or str
        A number, a name that ends in one, or what names a private collection.

    Returns
    -------
    int or Token
        What the collection is asked for by.

    Raises
    ------
    KeyError
        If that is no collection.

    Examples
    --------
    >>> ref_in("brainpedia_1952"), ref_in("1952"), ref_in("env:MY_COLLECTION")
    (1952, 1952, Token(env='MY_COLLECTION'))
    """
    numbered = _NUMBERED.fullmatch(key.strip()) if isinstance(key, str) else None
    try:
        return parse_collection_ref(numbered[1] if numbered else key)
    except ArgumentError:
        msg = (
            f"{shown(key)} is no collection: name one by its number, such as 1952, by "
            "its name in the list, or a private one by 'env:NAME'."
        )
        raise KeyError(msg) from None


def mentioning(text: str) -> dict[str, Any]:
    """Write conditions on collections that mention words.

    Parameters
    ----------
    text : str
        Words, of which one must occur, in small letters or capitals.

    Returns
    -------
    dict
        A filter that looks at all text by which people know a collection.

    Examples
    --------
    >>> mentioning("pain touch")["$or"][0]
    {'name': {'$regex': 'pain|touch', '$flags': 'i'}}
    """
    pattern = "|".join(map(re.escape, text.split()))
    return {"$or": [{name: {"$regex": pattern, "$flags": "i"}} for name in _TEXTS]}
