"""Whether NeuroVault gave a record, and if not, what that means and how to say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from intake_neurovault.errors import (
    AnswerError,
    MissingError,
    NeuroVaultError,
    PrivateError,
)
from intake_neurovault.records import CollectionRef, Token
from intake_neurovault.resource import Resource
from intake_neurovault.retry import Trouble


def name_of(ref: CollectionRef) -> str:
    """Name a collection for a message.

    Parameters
    ----------
    ref : int or Token
        Its id, or the token of a private one.

    Returns
    -------
    str
        Its id, or where its token is kept.

    Examples
    --------
    >>> name_of(3), name_of(Token(env="MY_MAPS"))
    ('Collection 3', 'The private collection whose token is in MY_MAPS')
    """
    if not isinstance(ref, Token):
        return f"Collection {ref}"
    place = f" whose token is in {ref.env}" if ref.env else ""
    return f"The private collection{place}"


def about_image(
    trouble: Trouble,
    server: str,
    image_id: int,
    *,
    token: Token | None,
    is_collection: Callable[[], bool],
) -> NeuroVaultError:
    """Say why there is no record of an image.

    Parameters
    ----------
    trouble : Trouble
        What the request met.
    server : str
        Address of the server.
    image_id : int
        The image that was asked for.
    token : Token or None
        The token it was asked with.
    is_collection : callable
        Finds out whether there is a collection of that number.

    Returns
    -------
    NeuroVaultError
        What to raise.

    Examples
    --------
    >>> trouble = Trouble(MissingError("?"))
    >>> found = lambda: True
    >>> print(about_image(trouble, "http://a.org", 7, token=None, is_collection=found))
    There is no public image 7 on http://a.org; 7 is a collection id: if you mean \
that, pass collection_ids=[7].
    """
    if not isinstance(trouble.error, MissingError):
        return trouble.error
    if token is not None:
        msg = f"{name_of(token)} on {server} has no image {image_id}."
    elif is_collection():
        msg = (
            f"There is no public image {image_id} on {server}; {image_id} is a "
            f"collection id: if you mean that, pass collection_ids=[{image_id}]."
        )
    else:
        msg = (
            f"There is no public image {image_id} on {server}; one in a private "
            "collection is had by that collection's token, "
            "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec."
        )
    return _counted(MissingError(msg), trouble)


def about_collection(
    trouble: Trouble, server: str, ref: CollectionRef, *, is_image: Callable[[], bool]
) -> NeuroVaultError:
    """Say why there is no record of a collection, or no list of its images.

    Parameters
    ----------
    trouble : Trouble
        What the request met.
    server : str
        Address of the server.
    ref : int or Token
        The collection that was asked for.
    is_image : callable
        Finds out whether there is an image of that number.

    Returns
    -------
    NeuroVaultError
        What to raise.

    Examples
    --------
    >>> trouble = Trouble(MissingError("?"))
    >>> print(about_collection(trouble, "http://a.org", 7, is_image=lambda: True))
    There is no collection 7 on http://a.org; 7 is an image id: pass image_ids=[7].
    """
    if isinstance(trouble.error, PrivateError):
        msg = (
            f"{name_of(ref)} on {server} is private: pass its token as "
            "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec, where "
            "the environment variable NAME holds its eight letters."
        )
        return _counted(PrivateError(msg), trouble)
    if not isinstance(trouble.error, MissingError):
        return trouble.error
    if isinstance(ref, Token):
        msg = (
            f"{name_of(ref)} does not exist on {server}; copy the token from the "
            "collection's address once more."
        )
    elif is_image():
        msg = (
            f"There is no collection {ref} on {server}; {ref} is an image id: pass "
            f"image_ids=[{ref}]."
        )
    else:
        msg = f"There is no collection {ref} on {server}."
    return _counted(MissingError(msg), trouble)


def _counted(error: NeuroVaultError, trouble: Trouble) -> NeuroVaultError:
    error.attempts = trouble.error.attempts
    return error


def record_of(
    resource: Resource, number: int | None, answer: object
) -> dict[str, Any] | Trouble:
    """Make sure that an answer is the record that was asked for.

    Parameters
    ----------
    resource : Resource
        What was asked.
    number : int or None
        The id; None if it is not known, as that behind a token.
    answer : object
        What the JSON says.

    Returns
    -------
    dict or Trouble
        The record, or that this is none.

    Examples
    --------
    >>> asked = Resource("http://a.org/3/", "http://a.org/3/", "Image 3")
    >>> record_of(asked, 3, {"id": 3})
    {'id': 3}
    """
    found = answer.get("id") if isinstance(answer, dict) else None
    if type(found) is int and number in (None, found):
        return cast("dict[str, Any]", answer)
    msg = (
        f"{resource.what}: {resource.shown} answered JSON that is not its record; "
        "check url=."
    )
    return Trouble(AnswerError(msg))
