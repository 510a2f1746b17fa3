"""Records as a client sees them: their links, file sizes and pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from intake_neurovault.testing.archive import Archive, Record
from intake_neurovault.testing.messages import Asked
from intake_neurovault.testing.schema import LINKS, QUOTED_LINKS

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*\Z")


@dataclass(frozen=True)
class View:
    """An archive seen by one client: the same records, with that client's links."""

    archive: Archive
    """What there is to see."""
    origin: str
    """Scheme and host of the links."""

    def collection(self, id: int) -> Record:
        """Render one collection, by its token where it is private."""
        shown = self.archive.tokens.get(id, str(id))
        record = self._linked(self.archive.collections[id], id)
        record["url"] = f"{self.origin}/collections/{shown}/"
        record["download_url"] = f"{self.origin}/collections/{shown}/download"
        return record

    def image(self, id: int) -> Record:
        """Render one image, with the size that its file has now."""
        stored = self.archive.images[id]
        owner = stored["collection_id"]
        shown = self.archive.tokens.get(owner)
        record = self._linked(stored, owner)
        record["collection"] = f"{self.origin}/collections/{shown or owner}/"
        place = f"collections/{shown}/images" if shown else "images"
        record["url"] = f"{self.origin}/{place}/{id}/"
        on_disk = self.archive.files.get(stored["file"])
        if on_disk is not None:
            record["file_size"] = len(on_disk.read())
        return record

    def atlas(self, id: int) -> Record:
        """Render one image as the atlas lists do: without its type."""
        record = self.image(id)
        del record["image_type"]
        return record

    def pack(self, id: int) -> Record:
        """Render one NIDM-Results pack, its maps in full."""
        stored = self.archive.packs[id]
        record = self._linked(stored, stored["collection"])
        record["statmaps"] = [self.image(number) for number in stored["statmaps"]]
        return record

    def _linked(self, stored: Record, collection_id: int) -> Record:
        token = self.archive.tokens.get(collection_id)
        record = dict(stored)
        for key in LINKS:
            path = record.get(key)
            if isinstance(path, str) and path.startswith("/"):
                path = quote(path) if key in QUOTED_LINKS else path
                if token is not None:
                    path = path.replace(f"/{collection_id}/", f"/{token}/", 1)
                record[key] = self.origin + path
        return record


def to_int(text: str) -> int | None:
    """Read an integer as Django reads one from a URL.

    Parameters
    ----------
    text : str
        Digits, with blanks, zeros or a sign before them.

    Returns
    -------
    int or None
        None for anything else.

    Examples
    --------
    >>> to_int(" 0012"), to_int("1.5"), to_int("abc")
    (12, None, None)
    """
    return int(text) if _INTEGER.match(text) else None


def parameters(query: str) -> dict[str, str]:
    """Read a query string; of a repeated name the last value counts.

    Parameters
    ----------
    query : str
        As sent, without the question mark.

    Returns
    -------
    dict of str to str
        Value by name, decoded.
    """
    found = parse_qs(query, keep_blank_values=True)
    return {name: values[-1] for name, values in found.items()}


def window(query: str) -> tuple[int, int]:
    """Find which rows a query asks for; what makes no sense counts as absent.

    Parameters
    ----------
    query : str
        As sent, without the question mark.

    Returns
    -------
    limit, offset : int
        Rows of a page, at most 1000, and rows before it.

    Examples
    --------
    >>> window("limit=5000&offset=20"), window("limit=2.5&offset=-1")
    ((1000, 20), (100, 0))
    """
    given = parameters(query)
    limit, offset = to_int(given.get("limit", "")), to_int(given.get("offset", ""))
    limit = min(limit, MAX_LIMIT) if limit is not None and limit > 0 else DEFAULT_LIMIT
    return limit, max(offset or 0, 0)


def page(
    asked: Asked, ids: Sequence[int], render: Callable[[int], Record]
) -> dict[str, Any]:
    """Build one page of a list.

    Parameters
    ----------
    asked : Asked
        The request, for its query and links.
    ids : sequence of int
        Every row of the list, in the list's order.
    render : callable
        Makes a row's record from its id.

    Returns
    -------
    dict
        ``count``, ``next``, ``previous`` and ``results``.
    """
    limit, offset = window(asked.query)
    count = len(ids)
    following = offset + limit if offset + limit < count else None
    before = max(offset - limit, 0) if offset > 0 else None
    return {
        "count": count,
        "next": _neighbour(asked, limit, following),
        "previous": _neighbour(asked, limit, before, drop_zero=True),
        "results": [render(number) for number in ids[offset : offset + limit]],
    }


def _neighbour(
    asked: Asked, limit: int, offset: int | None, *, drop_zero: bool = False
) -> str | None:
    if offset is None:
        return None
    query = parse_qs(asked.query, keep_blank_values=True)
    query["limit"] = [str(limit)]
    query["offset"] = [str(offset)]
    if offset == 0 and drop_zero:
        del query["offset"]
    path = quote(unquote(asked.path), safe="/~:@!$&'()*+,;=")
    return f"{asked.origin}{path}?{urlencode(sorted(query.items()), doseq=True)}"
