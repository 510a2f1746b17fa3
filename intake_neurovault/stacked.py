"""What has to be known to read maps: columns, of which a map is made when needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import itemgetter
from typing import Any, NamedTuple, overload

from intake_neurovault.records import Image, ImageFile, Token

__all__ = ["MapList", "Part", "Server", "StackedMap", "part_of"]


@dataclass(frozen=True, slots=True)
class StackedMap:
    """What a block needs to know of one map, without its metadata."""

    image_id: int
    """The image."""
    collection_id: int
    """Its collection."""
    file: ImageFile | None
    """Its file, or None when the record names none."""
    discrete: bool
    """Whether the values are labels, between which nothing lies."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"image {self.image_id} (collection {self.collection_id})"

    @classmethod
    def of(cls, image: Image) -> StackedMap:
        """Take it from a record.

        Parameters
        ----------
        image : Image
            The record.

        Returns
        -------
        StackedMap
            Its identity, file and kind.

        Examples
        --------
        >>> raw = {"id": 3, "collection_id": 1, "image_type": "atlas"}
        >>> StackedMap.of(Image.from_json(raw, base_url="https://neurovault.org"))
        StackedMap(image_id=3, collection_id=1, file=None, discrete=True)
        """
        return cls(image.id, image.collection_id, image.file, image.discrete)


class Server(NamedTuple):
    """Who serves a file; many files share it."""

    host: str | None = None
    """``https://other.org`` when not on the configured server."""
    token: Token | None = None
    """The token that opens a private collection."""
    origin: str = ""
    """Host and port by which its server knows itself; empty if nothing tells."""


Part = tuple[str | None, int | None, str | None, Server, str | None]
"""Path, size, date of change, server and SHA-256 of a file; all but the server are
None where there is no file."""

_NOBODY = Server()


@dataclass(frozen=True)
class MapList(Sequence[StackedMap]):
    """Maps, each of which is made when somebody looks at it.

    Twenty thousand maps are a handful of tuples, and not five objects for each.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "image_type": "atlas"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> maps = MapList.of([StackedMap.of(image)])
    >>> len(maps), maps[0].discrete, maps[:0].numbers
    (1, True, ())
    """

    numbers: tuple[int, ...]
    """The images."""
    homes: tuple[int, ...]
    """Their collections."""
    discrete: tuple[bool, ...]
    """Whether the values are labels."""
    paths: tuple[str | None, ...]
    """Where the files are on their servers; None for a map without a file."""
    sizes: tuple[int | None, ...]
    """Bytes, as `ImageFile` has them."""
    dates: tuple[str | None, ...]
    """When they last changed."""
    servers: tuple[Server, ...]
    """Who serves them."""
    digests: tuple[str | None, ...]
    """The SHA-256 that their bytes must have; None if any will do."""

    @classmethod
    def of(cls, maps: Iterable[StackedMap]) -> MapList:
        """Take maps apart.

        Parameters
        ----------
        maps : iterable of StackedMap
            The maps.

        Returns
        -------
        MapList
            The same.
        """
        rows = [
            (m.image_id, m.collection_id, m.discrete, *part_of(m.file)) for m in maps
        ]
        columns = zip(*rows, strict=True) if rows else [()] * len(fields(cls))
        return cls(*columns)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, key: int, /) -> StackedMap: ...
    @overload
    def __getitem__(self, key: slice, /) -> MapList: ...
    def __getitem__(self, key: int | slice, /) -> StackedMap | MapList:
        if isinstance(key, slice):
            return MapList(*(column[key] for column in self._columns()))
        number, home = self.numbers[key], self.homes[key]
        path, server = self.paths[key], self.servers[key]
        file = None
        if path is not None:
            what = (path, self.sizes[key], self.dates[key])
            file = ImageFile(number, home, *what, *server, self.digests[key])
        return StackedMap(number, home, file, self.discrete[key])

    def take(self, positions: Sequence[int]) -> MapList:
        """Choose some.

        Parameters
        ----------
        positions : sequence of int
            Which.

        Returns
        -------
        MapList
            These maps only, in this order.
        """
        if len(positions) < 2:
            return MapList.of(self[position] for position in positions)
        chosen = itemgetter(*positions)
        return MapList(*map(chosen, self._columns()))

    def identity(self) -> str:
        """Say all that decides about the voxels.

        Returns
        -------
        str
            The same for equal files, in any process.
        """
        files = (self.paths, self.sizes, self.dates, self.digests)
        return json.dumps((self.numbers, self.discrete, *files))

    def _columns(self) -> tuple[tuple[Any, ...], ...]:
        return tuple(getattr(self, each.name) for each in fields(self))


def part_of(file: ImageFile | None) -> Part:
    """Take a file apart.

    Parameters
    ----------
    file : ImageFile or None
        The file of an image.

    Returns
    -------
    Part
        What a `MapList` keeps of it.

    Examples
    --------
    >>> part_of(ImageFile(3, 1, "/t.nii.gz", 1024, "2024-05-01"))[:3]
    ('/t.nii.gz', 1024, '2024-05-01')
    """
    if file is None:
        return None, None, None, _NOBODY, None
    server = Server(file.host, file.token, file.origin)
    return file.path, file.file_size, file.modify_date, server, file.sha256
