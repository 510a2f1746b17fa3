"""Catalogs of intake's second version: what was found, an entry for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from intake.readers.entry import Catalog, ReaderDescription

from intake_neurovault.directory import Directory
from intake_neurovault.errors import ArgumentError
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import Token
from intake_neurovault.result import SearchResult
from intake_neurovault.templates import formatted
from intake_neurovault.titles import description_of, name_of

_READER = "intake_neurovault.readers:NeuroVaultImages"
_OUTPUT = "xarray:Dataset"
_QUERY = ("image_terms", "collection_terms", "image_ids", "collection_ids")


def catalog_of_collections(directory: Directory) -> Catalog:
    """Make a catalog of collections.

    Parameters
    ----------
    directory : Directory
        The collections, which are listed now.

    Returns
    -------
    intake.Catalog
        An entry for each collection, which reads its images as a lazy cube: by its
        name in the list, or by its number as text.

    Raises
    ------
    FilterError
        If a condition is a Python function.
    ArgumentError
        If a private collection's token is given literally.

    Examples
    --------
    >>> catalog_of_collections(Directory(collection_ids=[]))
    Catalog
     named datasets: []
    """
    shared = directory.to_arguments()
    return _catalog(
        (
            each,
            f"Collection {each.id}: {description_of(each)}",
            shared | {"collection_ids": [_written(each)]},
        )
        for each in directory
    )


def catalog_of_images(result: SearchResult) -> Catalog:
    """Make a catalog of images.

    Parameters
    ----------
    result : SearchResult
        The images, which are searched for now.

    Returns
    -------
    intake.Catalog
        An entry for each image, which reads it as a lazy cube of one map: by its name
        in the list, or by its number as text.

    Raises
    ------
    FilterError
        If a condition is a Python function.
    ArgumentError
        If a private collection's token is given literally, or the query is frozen.

    Examples
    --------
    >>> from intake_neurovault import search
    >>> len(catalog_of_images(search(image_ids=[])))
    0
    """
    arguments = result.to_arguments()
    if "frozen" in arguments:
        msg = (
            "A frozen query has no entries for its single images, which would give "
            "them as they are now; take result.thaw(), or all of it with to_intake()."
        )
        raise ArgumentError(msg)
    dropped = (*_QUERY, "max_images")
    shared = {name: each for name, each in arguments.items() if name not in dropped}
    homes = result.found.collections
    return _catalog(
        (
            image,
            f"Image {image.id}: {image.metadata.get('name') or 'without a title'}",
            shared | _asking_for(image, homes[image.collection_id]),
        )
        for image in result
    )


def _catalog(
    rows: Iterable[tuple[Collection | Image, str, Mapping[str, Any]]],
) -> Catalog:
    cat = Catalog()
    for record, text, arguments in rows:
        # NOTE: primitives only, and no data of its own: intake loses that in a search.
        entry = ReaderDescription(
            reader=_READER,
            kwargs=formatted(arguments),
            output_instance=_OUTPUT,
            metadata={"description": text},
        )
        key = cat.add_entry(entry, name=str(record.id))
        # NOTE: intake lists aliases only.
        cat.aliases[name_of(record)] = key
    return cat


def _asking_for(image: Image, home: Collection) -> dict[str, Any]:
    if home.token is None:
        return {"image_ids": [image.id]}
    # NOTE: an image of a private collection is found through that only.
    return {"collection_ids": [_written(home)], "image_terms": {"id": image.id}}


def _written(collection: Collection) -> int | str:
    token: Token | None = collection.token
    return collection.id if token is None else token.to_json()
