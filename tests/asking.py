"""What the tests of searching and fetching share: who is asked, and what was."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from intake_neurovault.client import Client
from intake_neurovault.finder import Finder
from intake_neurovault.found import Found, outcome
from intake_neurovault.listings import Listings
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import Pool
from intake_neurovault.query import Query
from intake_neurovault.records import ImageFile
from intake_neurovault.store import Store
from intake_neurovault.testing import Archive, NeuroVaultServer
from intake_neurovault.vault import Vault

PATIENCE = 2.0
"""Seconds that a busy server waits for more to come."""

SECRET = "ABCDEFGH"
"""Opens the private collection 9001 of the sample archive."""


def workers() -> set[threading.Thread]:
    """The threads that ask servers; those that check what arrived are always there."""
    return {each for each in threading.enumerate() if each.name == "neurovault"}


def client_of(server: NeuroVaultServer, **changes: Any) -> Client:
    """A client that does not sleep between attempts."""
    return replace(Client.parse(url=server.url, retries=1), backoff=0.001, **changes)


def listings_of(
    server: NeuroVaultServer,
    data_dir: Path,
    mode: str = "download_new",
    ttl: float | str | None = "1d",
) -> Listings:
    """A fresh view, as each search has one."""
    store = Store.parse(data_dir)
    return Listings.parse(client_of(server), store, mode=mode, metadata_ttl=ttl)


def mirror_of(
    server: NeuroVaultServer, data_dir: Path, mode: str = "download_new"
) -> Mirror:
    return Mirror(listings_of(server, data_dir, mode))


def vault_of(
    server: NeuroVaultServer,
    data_dir: Path,
    mode: str = "download_new",
    errors: str = "raise",
    workers: int = 4,
) -> Vault:
    pool = Pool(workers, errors, progress=False)  # type: ignore[arg-type]
    return Vault(mirror_of(server, data_dir, mode), pool)


def find(
    server: NeuroVaultServer,
    data_dir: Path,
    mode: str = "download_new",
    errors: str = "raise",
    workers: int = 4,
    **query: Any,
) -> Found:
    """Search once."""
    pool = Pool(workers, errors, progress=False)  # type: ignore[arg-type]
    finder = Finder(listings_of(server, data_dir, mode), pool)
    return outcome(finder.find(Query.parse(**query)))


def ids(items: Any) -> list[int]:
    return [item.id for item in items]


def asked(server: NeuroVaultServer, pattern: str = "") -> list[str]:
    """The paths asked for since the last look, sorted; queries count as one page."""
    found = sorted(
        each.path for each in server.requests if re.search(pattern, each.path)
    )
    server.clear_requests()
    return found


def file_of(listings: Listings, image_id: int) -> ImageFile:
    file = listings.image(image_id).file
    assert file is not None
    return file


def kept_texts(data_dir: Path) -> bytes:
    """Everything written below a folder, names included."""
    paths = sorted(data_dir.rglob("*"))
    names = " ".join(map(str, paths)).encode()
    return names + b"".join(path.read_bytes() for path in paths if path.is_file())


def many_collections(count: int, images: int = 2, content: bytes = b"") -> Archive:
    """Numbered collections with images, all with the same file."""
    archive = Archive()
    for number in range(1, count + 1):
        archive.add_collection(f"collection {number}", id=number)
        for place in range(images):
            archive.add_image(number, content, id=1000 * number + place)
    return archive


class BusyServer(NeuroVaultServer):
    """Answers late where a pattern says so, and counts how many wait at a time.

    Until so many as are expected have waited at the same time, it is even later: on a
    busy machine they may come one after the other.
    """

    def __init__(
        self, archive: Archive | None, pattern: str, seconds: float, expected: int = 1
    ) -> None:
        super().__init__(archive)
        self.most = 0
        self._pattern = pattern
        self._seconds = seconds
        self._expected = expected
        self._waiting = 0
        self._counting = threading.Condition()

    def prepare(self, asked: Any) -> Any:
        if re.search(self._pattern, asked.path) is None:
            return super().prepare(asked)
        with self._counting:
            self._waiting += 1
            self.most = max(self.most, self._waiting)
            self._counting.notify_all()
            self._counting.wait_for(lambda: self.most >= self._expected, PATIENCE)
        self.wait(self._seconds)
        with self._counting:
            self._waiting -= 1
        return super().prepare(asked)
