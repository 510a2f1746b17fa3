"""The surface files of images: which there are, and where they belong.

A map that was made on the cortex has, beside the volume into which NeuroVault
projects it, a GIFTI file for each hemisphere. Such a file is a value like that of an
image, so that all that moves files moves it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from intake_neurovault import layout
from intake_neurovault.address import locate, origin
from intake_neurovault.errors import AnswerError
from intake_neurovault.hemispheres import (
    HEMISPHERES,
    Hemisphere,
    surface_path,
    surface_receipt_path,
)
from intake_neurovault.records import Image, ImageFile, clean

FIELDS = tuple(f"surface_{each}_file" for each in HEMISPHERES)
"""The fields of a record that name such files."""


@dataclass(frozen=True, slots=True)
class SurfaceFile(ImageFile):
    """The identity of the bytes of one hemisphere's file, and where to get them.

    The server does not say how large these files are, so that `file_size` is None.

    Examples
    --------
    >>> path = "/media/images/1/t.fsaverage.lh.func.gii"
    >>> SurfaceFile(3, 1, path, None, "2024-05-01", hemisphere="left").label
    'left surface of image 3 (collection 1)'
    """

    hemisphere: Hemisphere = "left"
    """Which one."""

    @property
    def label(self) -> str:
        """What messages call it."""
        image = f"image {self.image_id} (collection {self.collection_id})"
        return f"{self.hemisphere} surface of {image}"


def surface_of(image: Image, hemisphere: Hemisphere, server: str) -> SurfaceFile | None:
    """Give the surface file of one hemisphere of an image.

    Parameters
    ----------
    image : Image
        The record.
    hemisphere : {"left", "right"}
        Which one.
    server : str
        The configured server.

    Returns
    -------
    SurfaceFile or None
        None if the record names none.

    Raises
    ------
    AnswerError
        If what it names cannot be the address of a file.

    Notes
    -----
    The server leaves these addresses unquoted: a blank or a ``#`` in one belongs to
    the name of the file.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1,
    ...        "surface_left_file": "http://neurovault.org/media/images/1/a #2.gii"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> surface_of(image, "left", "https://neurovault.org").path
    '/media/images/1/a%20%232.gii'
    """
    url = image.raw.get(f"surface_{hemisphere}_file")
    if not isinstance(url, str) or clean(url) is None:
        return None
    page = image.raw.get("collection") or image.raw.get("url")
    path, host = locate(url, server=server, page=page)
    return SurfaceFile(
        image_id=image.id,
        collection_id=image.collection_id,
        path=path,
        file_size=None,
        modify_date=image.metadata.get("modify_date"),
        host=host,
        token=image.file.token if image.file else None,
        origin=origin(page) if isinstance(page, str) else "",
        hemisphere=hemisphere,
    )


def surfaces_of(image: Image, server: str) -> dict[Hemisphere, SurfaceFile]:
    """Give the surface files of an image that have an address.

    Parameters
    ----------
    image : Image
        The record.
    server : str
        The configured server.

    Returns
    -------
    dict of str to SurfaceFile
        By hemisphere; empty for nearly all images, which were made as volumes.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "surface_left_file": "/media/lh.gii"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> list(surfaces_of(image, "https://neurovault.org"))
    ['left']
    """

    def found() -> Iterator[tuple[Hemisphere, SurfaceFile]]:
        for hemisphere in HEMISPHERES:
            try:
                file = surface_of(image, hemisphere, server)
            except AnswerError:
                continue
            if file is not None:
                yield hemisphere, file

    return dict(found())


def counterpart(file: ImageFile, image: Image, server: str) -> ImageFile | None:
    """Give the file of a record that stands where another one stands.

    Parameters
    ----------
    file : ImageFile
        The other one: the volume, or the surface of a hemisphere.
    image : Image
        The record.
    server : str
        The configured server.

    Returns
    -------
    ImageFile or None
        None if the record names none.

    Raises
    ------
    AnswerError
        As `surface_of`.

    Examples
    --------
    >>> volume = ImageFile(3, 1, "/media/t.nii.gz", 1024, None)
    >>> raw = {"id": 3, "collection_id": 1, "file": "/media/u.nii.gz"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> counterpart(volume, image, "https://neurovault.org").path
    '/media/u.nii.gz'
    """
    if isinstance(file, SurfaceFile):
        return surface_of(image, file.hemisphere, server)
    return image.file


def place_of(file: ImageFile) -> str:
    """Tell where a file lies in the store.

    Parameters
    ----------
    file : ImageFile
        The file: the volume, or the surface of a hemisphere.

    Returns
    -------
    str
        A path relative to the store.

    Examples
    --------
    >>> place_of(ImageFile(3, 12, "/media/t.nii.gz", 1024, None))
    'collection_12/image_3.nii.gz'
    """
    if isinstance(file, SurfaceFile):
        return surface_path(file.collection_id, file.image_id, file.hemisphere)
    return layout.image_path(file.collection_id, file.image_id)


def receipt_of(file: ImageFile) -> str:
    """Tell where the receipt of a file lies in the store.

    Parameters
    ----------
    file : ImageFile
        The file: the volume, or the surface of a hemisphere.

    Returns
    -------
    str
        A path relative to the store.

    Examples
    --------
    >>> receipt_of(ImageFile(3, 12, "/media/t.nii.gz", 1024, None))
    '.intake_neurovault/receipts/collection_12/image_3.json'
    """
    ids = file.collection_id, file.image_id
    if isinstance(file, SurfaceFile):
        return surface_receipt_path(*ids, file.hemisphere)
    return layout.receipt_path(*ids)
