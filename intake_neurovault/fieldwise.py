"""The records of many images, field by field.

What is known of a record as text alone is not made a record for that: its values go
from the text into the lists of the fields. This is done once, for all that ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple

from numpy.typing import NDArray

from intake_neurovault.bodies import Folded, Shape, Unread, served
from intake_neurovault.records import IMAGE_KINDS, Image, is_discrete
from intake_neurovault.stacked import MapList, Part, Server, part_of

__all__ = ["Custom", "Images", "Values"]

_AT_A_TIME = 256  # records that are held apart from their texts
_PARTS = len(part_of(None))


class Values(NamedTuple):
    """The values of one field."""

    values: list[Any]
    """One for each image; not to be changed."""
    nulls: int
    """How many of them are null."""


class Custom(NamedTuple):
    """Fields outside the core schema, of images that all have the same ones."""

    rows: list[int]
    """Which images."""
    names: list[str]
    """The fields, in the order of the records."""
    columns: list[list[Any]]
    """The values of each field, one for each of these images; some may be null."""


@dataclass
class _Records:
    """Images whose records have the same names, in the same order."""

    names: tuple[str, ...]
    """The names."""
    rows: list[int] = field(default_factory=list)
    """Which images."""
    images: list[Image] = field(default_factory=list)
    """The images."""
    columns: list[list[Any]] = field(default_factory=list)
    """The values of each field, one for each of these images."""
    places: dict[str, int] = field(init=False)
    """Which column is whose."""

    def __post_init__(self) -> None:
        self.places = {name: place for place, name in enumerate(self.names)}

    def read(self) -> None:
        """Fill the columns."""
        records = (image.metadata.values() for image in self.images)
        self.columns = _columns(records, len(self.names))

    def column(self, name: str) -> list[Any]:
        """Give the values of a field, null if there is none of that name."""
        if name in self.places:
            return self.columns[self.places[name]]
        return [None] * len(self.rows)

    def nulls(self, name: str) -> int:
        """Count them."""
        return self.column(name).count(None)

    def types(self) -> list[str]:
        """Give the types of the images."""
        return [image.image_type for image in self.images]

    def parts(self) -> Iterable[Part]:
        """Give what is known of the files."""
        return [part_of(image.file) for image in self.images]


@dataclass
class _Texts(_Records):
    """Images at whose records nobody has looked; the names are those that are given."""

    shape: Shape = field(kw_only=True)
    """The shape of the records."""
    wheres: list[Any] = field(default_factory=list)
    """Where the files are."""

    def read(self) -> None:
        """Fill the columns."""
        records = map(self.shape.values, [image._text for image in self.images])
        *self.columns, _, self.wheres = _columns(records, len(self.names) + 2)

    def nulls(self, name: str) -> int:
        """Count them: texts have none."""
        return 0 if name in self.places else len(self.rows)

    def types(self) -> list[str]:
        """Give the types of the images."""
        return [each or "" for each in self.column("image_type")]

    def parts(self) -> Iterable[Part]:
        """Give what is known of the files."""
        names = ("file", "file_size", "modify_date", "collection", "url")
        about = zip(self.wheres, *map(self.column, names), strict=True)
        servers: dict[tuple[str | None, str], Server] = {}
        for where, address, size, date, home, page in about:
            if where is None:
                yield part_of(None)
                continue
            path, host, name = served(where, address, home or page)
            server = servers.get((host, name))
            if server is None:
                server = servers[host, name] = Server(host, None, name)
            size = size if size is None or size >= 0 else None
            yield path, size, date, server, None


class _Folded(_Texts):
    """Images at whose records nobody has looked, but whose files are known."""

    types = _Records.types
    parts = _Records.parts


class Images(tuple[Image, ...]):
    """Images, which can be asked field by field.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "map_type": "Z map", "task": "rest"}
    >>> images = Images([Image.from_json(raw, base_url="https://neurovault.org")])
    >>> images.field("map_type"), images.field("age")
    (Values(values=['Z map'], nulls=0), Values(values=[None], nulls=1))
    >>> images.custom
    [Custom(rows=[0], names=['task'], columns=[['rest']])]
    """

    @classmethod
    def of(cls, images: Iterable[Image]) -> Images:
        """Give images as such.

        Parameters
        ----------
        images : iterable of Image
            The images.

        Returns
        -------
        Images
            They themselves, if they are that already: what was worked out is kept.
        """
        return images if isinstance(images, cls) else cls(images)

    def __reduce__(self) -> tuple[Any, ...]:
        return Images, (tuple(self),)

    def field(self, name: str) -> Values:
        """Give the values of a core field.

        Parameters
        ----------
        name : str
            The field.

        Returns
        -------
        Values
            The cleaned values, one for each image, and how many are null.
        """
        if name not in self._fields:
            groups = self._groups
            nulls = sum(group.nulls(name) for group in groups)
            empty = nulls == len(self)
            pieces = [] if empty else [group.column(name) for group in groups]
            values = [None] * nulls if empty else self._in_order(pieces)
            self._fields[name] = Values(values, nulls)
        return self._fields[name]

    @cached_property
    def homes(self) -> list[int]:
        """The collections that the records name."""
        return [image.collection_id for image in self]

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What was made of the fields, by name; for whoever makes it."""
        return {}

    @property
    def custom(self) -> list[Custom]:
        """The fields outside the core schema, by the names that records have."""
        found = []
        for group in self._groups:
            pairs = zip(group.names, group.columns, strict=True)
            own = [(name, each) for name, each in pairs if name not in IMAGE_KINDS]
            if own:
                names, columns = map(list, zip(*own, strict=True))
                found.append(Custom(group.rows, names, columns))
        return found

    @cached_property
    def maps(self) -> MapList:
        """What has to be known to read them."""
        types = self._in_order([group.types() for group in self._groups])
        kinds = list(zip(types, self.field("map_type").values, strict=True))
        verdicts = {kind: is_discrete(*kind) for kind in set(kinds)}
        parts = self._in_order([list(group.parts()) for group in self._groups])
        return MapList(
            tuple([image.id for image in self]),
            tuple(self.homes),
            tuple(map(verdicts.__getitem__, kinds)),
            *map(tuple, _columns(iter(parts), _PARTS)),
        )

    @cached_property
    def _fields(self) -> dict[str, Values]:
        return {}

    @cached_property
    def _groups(self) -> list[_Records]:
        groups: dict[Any, _Records] = {}
        for row, image in enumerate(self):
            source = image._source
            key: object
            if isinstance(source, Unread):
                # NOTE: records that one segment of the index gave share their source.
                key, shape = source, source.shape
                kind = _Folded if isinstance(source, Folded) else _Texts
                group = groups.get(key) or kind(shape.given, shape=shape)
            else:
                key = names = tuple(image.metadata)
                group = groups.get(key) or _Records(names)
            groups[key] = group
            group.images.append(image)
            group.rows.append(row)
        for group in groups.values():
            group.read()
        return list(groups.values())

    @cached_property
    def _order(self) -> itemgetter[Any] | None:
        """What puts the values of all groups, one after the other, in order."""
        rows = list(chain.from_iterable(group.rows for group in self._groups))
        if len(self._groups) < 2:
            return None
        return itemgetter(*sorted(range(len(rows)), key=rows.__getitem__))

    def _in_order(self, pieces: list[list[Any]]) -> list[Any]:
        if self._order is None:
            return pieces[0] if pieces else []
        return list(self._order(list(chain.from_iterable(pieces))))


def _columns(rows: Iterator[Iterable[Any]], width: int) -> list[list[Any]]:
    """Turn rows into columns, of which only so many are held at a time."""
    columns: list[list[Any]] = [[] for _ in range(width)]
    while some := list(islice(rows, _AT_A_TIME)):
        for column, more in zip(columns, zip(*some, strict=True), strict=True):
            column += more
    return columns
