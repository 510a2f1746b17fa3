"""How a server has changed since a query was frozen, and what to do about it.

Pure: what the server has now is asked for elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection as Group
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from intake_neurovault.changes import Change, What
from intake_neurovault.locks import Lock
from intake_neurovault.records import Collection, Image, ImageFile

# NOTE: what the server makes up from the file and the moment, or says twice.
_NOT_METADATA = frozenset(
    {
        "collection",
        "collection_id",
        "download_url",
        "file",
        "file_size",
        "id",
        "modify_date",
        "number_of_images",
        "reduced_representation",
        "thumbnail",
        "url",
    }
)
_SOME_FIELDS = 4
_SOME_IMAGES = 12
_LONGEST = 60


@dataclass(frozen=True)
class Present:
    """What a server has now, as far as it was asked.

    Examples
    --------
    >>> Present(deleted=frozenset({3})).images
    {}
    """

    images: Mapping[int, Image] = field(default_factory=dict)
    """The images that it has, by id; those of others are not known."""
    collections: Mapping[int, Collection] = field(default_factory=dict)
    """Their collections, as far as they were asked for."""
    matching: tuple[int, ...] = ()
    """Which images match the query now; none if that was not asked."""
    deleted: frozenset[int] = frozenset()
    """Images that it has no more."""
    hidden: frozenset[int] = frozenset()
    """Images that it shows only to those who know a token."""

    def differs(self, file: ImageFile) -> bool:
        """Tell whether a file may not be on the server as it was.

        Parameters
        ----------
        file : ImageFile
            The file as it was frozen.

        Returns
        -------
        bool
            Whether the image is gone, or path, size or date of change are others;
            False if the image was not asked for.
        """
        if file.image_id in self.deleted | self.hidden:
            return True
        image = self.images.get(file.image_id)
        if image is None:
            return False
        return image.file is None or not image.file.same_bytes_as(file)


def compare(
    lock: Lock, now: Present, kept: Group[int], lost: Group[int] = ()
) -> tuple[Change, ...]:
    """Tell what changed since a query was frozen.

    Parameters
    ----------
    lock : Lock
        What was frozen.
    now : Present
        What the server has. Images that it does not mention are left out.
    kept : collection of int
        The images whose frozen bytes are in the store.
    lost : collection of int
        Those whose frozen bytes were asked for in vain, so that a file of the same
        name and size must be another one.

    Returns
    -------
    tuple of Change
        In the order of the lock, an image more than once if more than one thing
        happened to it; then collections, then images that are new.

    Examples
    --------
    >>> from intake_neurovault.query import Query
    >>> lock = Lock("2024", "https://a.org", Query.parse(image_ids=[3]), (), {})
    >>> compare(lock, Present(), kept=())
    ()
    """
    changes = [
        change
        for image in lock.images
        for change in _of_image(image, now, image.id in kept, image.id in lost)
    ]
    for number, about in lock.collections.items():
        after = now.collections.get(number)
        fields = _edited(about.metadata, after.metadata) if after else None
        if fields is not None:
            changes.append(Change(None, number, "edited", *fields, _EDITED))
    frozen = {image.id for image in lock.images}
    for number in now.matching:
        if number not in frozen:
            image = now.images[number]
            name = _short(image.metadata.get("name"))
            home = image.collection_id
            changes.append(Change(number, home, "added", "", name, _ADDED))
    return tuple(changes)


_SERVED = "Nothing: the frozen file is in the store, and is served; keep the store."
_LOST = (
    "The frozen file is neither in the store nor on the server: errors='warn' goes on "
    "without it, .thaw() takes what the server has now."
)
_FETCHED = "Nothing, if the bytes are the same: that is seen when they are fetched."
_STRICT = (
    "Pass errors='warn' to go on without what is gone, or data_dir= with a store that "
    "still has it; or accept the changes with result.thaw().freeze(path, "
    "overwrite=True)."
)
_LENIENT = (
    "What is gone is left out of files, and NaN in cubes. To accept the changes, use "
    "result.thaw().freeze(path, overwrite=True)."
)
_EDITED = "Nothing: the frozen record is served; .thaw() takes the new one."
_ADDED = "Nothing: it is not served; .thaw() takes it up."


def _of_image(image: Image, now: Present, kept: bool, lost: bool) -> Iterator[Change]:
    file, home = image.file, image.collection_id
    before = _file(file)
    if image.id in now.deleted | now.hidden:
        what: What = "deleted" if image.id in now.deleted else "made private"
        yield Change(image.id, home, what, before, "", _SERVED if kept else _LOST)
    after = now.images.get(image.id)
    if after is None or file is None:
        return
    if (fate := _fate(file, after, lost)) is not None:
        doubtful = not lost and _same_size(file, after.file)
        advice = _SERVED if kept else _FETCHED if doubtful else _LOST
        where = f"collection {after.collection_id}, " if fate == "moved" else ""
        found = "" if fate == "lost" else where + _file(after.file)
        yield Change(image.id, home, fate, before, found, advice)
    if fields := _edited(image.metadata, after.metadata):
        yield Change(image.id, home, "edited", *fields, _EDITED)


def _fate(file: ImageFile, after: Image, lost: bool) -> What | None:
    """Tell what became of a file."""
    if after.file is None or after.file.file_size == 0:
        return "lost"
    same = _same_size(file, after.file)
    if after.collection_id != file.collection_id and same and not lost:
        return "moved"
    same_path = after.file.path == file.path
    return None if same_path and same and not lost else "re-uploaded"


def _same_size(file: ImageFile, after: ImageFile | None) -> bool:
    return after is not None and after.file_size in (None, file.file_size)


def _file(file: ImageFile | None) -> str:
    """Name a file as people know it."""
    if file is None:
        return "no file"
    name = unquote(file.path).rpartition("/")[2]
    size = "" if file.file_size is None else f", {file.file_size:,} bytes"
    return f"{name}{size}"


def _edited(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[str, str] | None:
    """Name the fields that differ, as they were and as they are."""
    names = [
        name
        for name in dict.fromkeys((*before, *after))
        if name not in _NOT_METADATA and not _same(before.get(name), after.get(name))
    ]
    if not names:
        return None
    more = f"; {len(names) - _SOME_FIELDS} more" if len(names) > _SOME_FIELDS else ""
    some = names[:_SOME_FIELDS]
    was, is_ = (
        "; ".join(f"{name}: {_short(record.get(name))}" for name in some) + more
        for record in (before, after)
    )
    return was, is_


def _same(one: object, other: object) -> bool:
    # NOTE: a server that is reached by another name writes other links.
    links = [
        urlsplit(each)
        for each in (one, other)
        if isinstance(each, str) and each.startswith(("http://", "https://"))
    ]
    if len(links) == len((one, other)):
        return links[0][2:] == links[1][2:]
    return type(one) is type(other) and one == other


def _short(value: object) -> str:
    text = "none" if value is None else f"{value}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def complaint(
    lock: Lock, changes: Iterable[Change], lost: Group[int], *, strict: bool
) -> str:
    """Say which frozen images cannot be had any more, and what else changed.

    Parameters
    ----------
    lock : Lock
        What was frozen.
    changes : iterable of Change
        All that changed.
    lost : collection of int
        The images that cannot be had.
    strict : bool
        Whether that ends the work; else it goes on without them.

    Returns
    -------
    str
        Some lines: what is gone, what else changed but is served, what to do.
    """
    listed = list(changes)
    gone = [each for each in listed if each.id in lost and each.what != "edited"]
    rest = [each for each in listed if each not in gone and each.what != "added"]
    new = [each for each in listed if each.what == "added"]
    number, total = len(lost), len(lock.images)
    head = (
        f"{number} of {total} images frozen on {lock.day} can no longer be had as "
        "they were: their bytes are neither in the store nor on the server."
    )
    parts = [head, *_lines(gone)]
    if rest:
        parts += ["Changed as well, and served as frozen:", *_lines(rest)]
    if new:
        parts += ["New, and not part of what was frozen:", *_lines(new)]
    parts.append(_STRICT if strict else _LENIENT)
    return "\n".join(parts)


def remark(changes: Iterable[Change]) -> str:
    """Say what changed, where all is served as it was frozen.

    Parameters
    ----------
    changes : iterable of Change
        At least one.

    Returns
    -------
    str
        Some lines.
    """
    listed = list(changes)
    head = (
        "The server has changed since this was frozen; what was frozen is served, "
        "see .changes():"
    )
    return "\n".join([head, *_lines(listed)])


def _lines(changes: list[Change]) -> list[str]:
    lines = [f"  - {each.describe()}" for each in changes[:_SOME_IMAGES]]
    more = len(changes) - _SOME_IMAGES
    return [*lines, f"  - and {more} more, see .changes()"] if more > 0 else lines
