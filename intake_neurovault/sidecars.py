"""The JSON files of nilearn's tree: written in its form, read from any version.

nilearn makes paths out of every key that holds ``relative_path``, and dies on a
file that lacks them, so they are written; but it writes wrong ones itself, so they
are never believed. Nothing here changes a file.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intake_neurovault import layout
from intake_neurovault.errors import CorruptFileError, Failure
from intake_neurovault.records import clean

logger = logging.getLogger(__name__)

_PATH_KEYS = ("relative_path", "absolute_path")
_COLLECTION = re.compile(r"collection_([1-9][0-9]*)")
_SIDECAR = re.compile(r"image_([1-9][0-9]*)_metadata\.json")

# NOTE: so many images are found quicker by asking each folder for each of them.
_FEW = 8


@dataclass(frozen=True)
class OnDisk:
    """Records read from disk; iterating gives the records.

    Examples
    --------
    >>> [raw["id"] for raw in OnDisk(({"id": 3}, {"id": 5}), failures=())]
    [3, 5]
    """

    records: tuple[dict[str, Any], ...]
    """As the server gave them, null spellings aside, in ascending order of id."""
    failures: tuple[Failure, ...]
    """The files that could not be read."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the records."""
        return iter(self.records)

    def __len__(self) -> int:
        """Count the records."""
        return len(self.records)


def collection_bytes(raw: Mapping[str, Any], collection_id: int) -> bytes:
    r"""Write the record of a collection as nilearn does.

    Parameters
    ----------
    raw : mapping
        The record as the server gives it.
    collection_id : int
        Its id.

    Returns
    -------
    bytes
        The content of ``collection_metadata.json``, byte for byte that of nilearn
        unless text such as "None of the above" is in it, a null to nilearn.

    Examples
    --------
    >>> collection_bytes({"id": 12, "DOI": "n/a"}, 12)
    b'{"id": 12, "DOI": null, "relative_path": "collection_12"}'
    """
    return _to_bytes(raw, {"relative_path": layout.collection_dir(collection_id)})


def image_bytes(raw: Mapping[str, Any], collection_id: int, image_id: int) -> bytes:
    """Write the record of an image as nilearn does.

    Parameters
    ----------
    raw : mapping
        The record as the server gives it.
    collection_id, image_id : int
        The ids.

    Returns
    -------
    bytes
        The content of ``image_<id>_metadata.json``, with the paths of the image and
        of nilearn's resampled copy, both relative to the store.

    Examples
    --------
    >>> text = image_bytes({"id": 3}, 12, 3).decode()
    >>> json.loads(text)["relative_path"]
    'collection_12/image_3.nii.gz'
    >>> json.loads(text)["resampled_relative_path"]
    'collection_12/image_3_resampled.nii.gz'
    """
    paths = {
        "relative_path": layout.image_path(collection_id, image_id),
        "resampled_relative_path": layout.resampled_path(collection_id, image_id),
    }
    return _to_bytes(raw, paths)


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    CorruptFileError
        If it cannot be read, or holds something else.

    Examples
    --------
    >>> read_object(Path("/no/such/file.json"))
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no /no/such/file.json.
    """
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"There is no {path}."
        raise FileNotFoundError(msg) from error
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path} is not readable JSON ({error}); remove it to have it made anew."
        raise CorruptFileError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds no JSON object; remove it to have it made anew."
        raise CorruptFileError(msg)
    return found


def read_collection(root: Path, collection_id: int) -> dict[str, Any]:
    """Read the record of a collection.

    Parameters
    ----------
    root : pathlib.Path
        The store.
    collection_id : int
        The collection.

    Returns
    -------
    dict
        Its record without paths.

    Raises
    ------
    FileNotFoundError
        If there is none.
    CorruptFileError
        If it is damaged, or that of another collection.

    Examples
    --------
    >>> read_collection(Path("/maps"), 12)
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no /maps/collection_12/collection_metadata.json.
    """
    path = root / layout.collection_metadata_path(collection_id)
    return _read_record(path, collection_id)


def read_image(root: Path, collection_id: int, image_id: int) -> dict[str, Any]:
    """Read the record of an image.

    Parameters
    ----------
    root : pathlib.Path
        The store.
    collection_id, image_id : int
        The image.

    Returns
    -------
    dict
        Its record without paths.

    Raises
    ------
    FileNotFoundError
        If there is none.
    CorruptFileError
        If it is damaged, or that of another image.

    Examples
    --------
    >>> read_image(Path("/maps"), 12, 3)
    Traceback (most recent call last):
    ...
    FileNotFoundError: There is no /maps/collection_12/image_3_metadata.json.
    """
    path = root / layout.sidecar_path(collection_id, image_id)
    record = _read_record(path, image_id)
    # NOTE: the folder decides: records of old versions lack the collection.
    record.setdefault("collection_id", collection_id)
    return record


def read_collections(root: Path) -> OnDisk:
    """Read the records of all collections.

    Parameters
    ----------
    root : pathlib.Path
        The store; it need not exist.

    Returns
    -------
    OnDisk
        The records. Of a folder whose record is missing or damaged only the id is
        known; it is there with that alone, and among the failures.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "collection_12").mkdir()
    ...     found = read_collections(Path(folder))
    >>> found.records, len(found.failures)
    (({'id': 12},), 1)
    """
    records, failures = [], []
    for number in collection_ids(root):
        try:
            records.append(read_collection(root, number))
        except OSError as error:
            records.append({"id": number})
            path = root / layout.collection_metadata_path(number)
            failures.append(_failure(path, error, collection_id=number))
    return OnDisk(tuple(records), tuple(failures))


def read_images(
    root: Path, collection_id: int, image_ids: Iterable[int] | None = None
) -> OnDisk:
    """Read the records of the images of a collection.

    Parameters
    ----------
    root : pathlib.Path
        The store.
    collection_id : int
        The collection; it need not be there.
    image_ids : iterable of int, optional
        Only these images.

    Returns
    -------
    OnDisk
        The records.

    Examples
    --------
    >>> read_images(Path("/no/such/store"), 12)
    OnDisk(records=(), failures=())
    """
    records, failures = [], []
    folder = root / layout.collection_dir(collection_id)
    wanted = _numbers(folder, _SIDECAR) if image_ids is None else sorted(image_ids)
    for number in wanted:
        try:
            records.append(read_image(root, collection_id, number))
        except OSError as error:
            path = root / layout.sidecar_path(collection_id, number)
            failures.append(_failure(path, error, number, collection_id))
    return OnDisk(tuple(records), tuple(failures))


def collection_ids(root: Path) -> list[int]:
    """List the collections that have a folder.

    Parameters
    ----------
    root : pathlib.Path
        The store; it need not exist.

    Returns
    -------
    list of int
        Their ids, ascending.

    Examples
    --------
    >>> collection_ids(Path("/no/such/store"))
    []
    """
    return _numbers(root, _COLLECTION)


def find_images(root: Path, image_ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Find the folders that hold the records of some images.

    No file is opened: few images are asked for by name, for more folders are read.

    Parameters
    ----------
    root : pathlib.Path
        The store; it need not exist.
    image_ids : iterable of int
        The images.

    Yields
    ------
    image_id, collection_id : int
        One image and a collection that holds a record of it.

    Examples
    --------
    >>> list(find_images(Path("/no/such/store"), [3, 5]))
    []
    """
    wanted = set(image_ids)
    for collection_id in collection_ids(root) if wanted else ():
        if len(wanted) > _FEW:
            folder = root / layout.collection_dir(collection_id)
            present = wanted.intersection(_numbers(folder, _SIDECAR))
        else:
            present = {i for i in wanted if _has_record(root, collection_id, i)}
        yield from ((image_id, collection_id) for image_id in present)


def _has_record(root: Path, collection_id: int, image_id: int) -> bool:
    # NOTE: making ten thousand paths would take longer than looking for them.
    path = f"{root}/{layout.sidecar_path(collection_id, image_id)}"
    return os.access(path, os.F_OK)


def _to_bytes(raw: Mapping[str, Any], paths: dict[str, str]) -> bytes:
    record = _without_paths(raw)
    for key, value in record.items():
        # NOTE: nilearn does not strip; readers on our side clean once more.
        if isinstance(value, float) or (
            isinstance(value, str) and not value[:1].isspace()
        ):
            record[key] = clean(value)
    return json.dumps(record | paths).encode("utf-8")


def _without_paths(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in record if not key.endswith(_PATH_KEYS)}


def _read_record(path: Path, number: int) -> dict[str, Any]:
    record = read_object(path)
    found = record.get("id")
    if isinstance(found, bool) or found != number:
        msg = (
            f"{path} is the record of id {found!r} instead of {number}; remove it to "
            "have it made anew."
        )
        raise CorruptFileError(msg)
    return _without_paths(record)


def _numbers(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    try:
        with os.scandir(folder) as entries:
            matches = [pattern.fullmatch(entry.name) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        logger.warning("%s cannot be listed: %s", folder, error)
        return []
    return sorted(int(match[1]) for match in matches if match)


def _failure(
    path: Path,
    error: OSError,
    image_id: int | None = None,
    collection_id: int | None = None,
) -> Failure:
    logger.warning("Passed over: %s", error)
    url = path.absolute().as_uri()
    return Failure(image_id, collection_id, url, reason=str(error), attempts=0)
