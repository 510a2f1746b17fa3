from __future__ import annotations

import pytest

from intake_neurovault.diagnosis import about_collection, about_image, name_of
from intake_neurovault.errors import (
    MissingError,
    NeuroVaultError,
    PrivateError,
    ServerError,
)
from intake_neurovault.records import CollectionRef, Token
from intake_neurovault.retry import Trouble

SERVER = "https://neurovault.org"
ENV = Token(env="MY_MAPS")
LITERAL = Token(secret="ABCDEFGH")


def trouble(error: NeuroVaultError) -> Trouble:
    error.attempts = 3
    return Trouble(error)


def never() -> bool:
    pytest.fail("asked the server for nothing")


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        (3, "Collection 3"),
        (ENV, "The private collection whose token is in MY_MAPS"),
        (LITERAL, "The private collection"),
    ],
)
def test_collections_are_named_without_their_token(
    ref: CollectionRef, name: str
) -> None:
    assert name_of(ref) == name


@pytest.mark.parametrize(
    ("token", "other", "text"),
    [
        (
            None,
            True,
            "There is no public image 7 on https://neurovault.org; 7 is a collection "
            "id: if you mean that, pass collection_ids=[7].",
        ),
        (
            None,
            False,
            "There is no public image 7 on https://neurovault.org; one in a private "
            "collection is had by that collection's token, "
            "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec.",
        ),
        (
            ENV,
            None,
            "The private collection whose token is in MY_MAPS on "
            "https://neurovault.org has no image 7.",
        ),
    ],
)
def test_missing_images(token: Token | None, other: bool | None, text: str) -> None:
    is_collection = never if other is None else (lambda: other)
    missing = trouble(MissingError("?"))
    error = about_image(missing, SERVER, 7, token=token, is_collection=is_collection)
    assert type(error) is MissingError
    assert str(error) == text
    assert error.attempts == 3


@pytest.mark.parametrize(
    ("met", "ref", "other", "text"),
    [
        (
            MissingError,
            7,
            True,
            "There is no collection 7 on https://neurovault.org; 7 is an image id: "
            "pass image_ids=[7].",
        ),
        (MissingError, 7, False, "There is no collection 7 on https://neurovault.org."),
        (
            MissingError,
            LITERAL,
            None,
            "The private collection does not exist on https://neurovault.org; copy "
            "the token from the collection's address once more.",
        ),
        (
            PrivateError,
            7,
            None,
            "Collection 7 on https://neurovault.org is private: pass its token as "
            "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec, where "
            "the environment variable NAME holds its eight letters.",
        ),
    ],
)
def test_collections_that_cannot_be_had(
    met: type[NeuroVaultError], ref: CollectionRef, other: bool | None, text: str
) -> None:
    is_image = never if other is None else (lambda: other)
    error = about_collection(trouble(met("?")), SERVER, ref, is_image=is_image)
    assert type(error) is met
    assert str(error) == text
    assert error.attempts == 3


def test_other_troubles_stay_as_they_are() -> None:
    busy = trouble(ServerError("busy"))
    assert about_collection(busy, SERVER, 7, is_image=never) is busy.error
    image = about_image(busy, SERVER, 7, token=None, is_collection=never)
    assert image is busy.error
