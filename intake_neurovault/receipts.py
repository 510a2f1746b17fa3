"""What is known of each image file of the store: one receipt beside each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.ledger import read_note
from intake_neurovault.records import ImageFile

logger = logging.getLogger(__name__)

_FILE_KEYS = (
    "image_id",
    "collection_id",
    "path",
    "file_size",
    "modify_date",
    "host",
    "origin",
)


class Receipt(Protocol):
    """What a download says about the file that it wrote."""

    @property
    def served_size(self) -> int:
        """Bytes as served."""

    @property
    def stored_size(self) -> int:
        """Bytes as written."""

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the bytes as written."""

    @property
    def last_modified(self) -> str | None:
        """When the server says that the file last changed, as its header says it."""


@dataclass(frozen=True)
class Entry:
    """What is known of one verified file.

    Examples
    --------
    >>> here = Path.cwd().stat()
    >>> Entry(here.st_size, here.st_mtime_ns, sha256="").holds_for(here)
    True
    """

    size: int
    """Bytes of the file as stored."""
    mtime_ns: int
    """Its time of last change, in nanoseconds."""
    sha256: str
    """Hexadecimal SHA-256 of the bytes as stored."""
    file: ImageFile | None = None
    """Which file of the server it is; None if nothing tells."""
    served_size: int | None = None
    """Bytes as served; None for files that others brought."""
    added: float | None = None
    """When it was downloaded (Unix time); None for files that others brought."""
    last_modified: str | None = None
    """The header of that name, in its answer; None if there was none."""

    def holds_for(self, found: os.stat_result) -> bool:
        """Tell whether the file is still the one that was verified.

        Parameters
        ----------
        found : os.stat_result
            The state of the file now.

        Returns
        -------
        bool
            Whether size and time of last change are the same.
        """
        return (self.size, self.mtime_ns) == (found.st_size, found.st_mtime_ns)

    def doubted(self) -> Entry:
        """Give a receipt that holds for no file, but still tells which file it was.

        Returns
        -------
        Entry
            The receipt.

        Examples
        --------
        >>> here = Path.cwd().stat()
        >>> Entry(here.st_size, here.st_mtime_ns, "").doubted().holds_for(here)
        False
        """
        return replace(self, size=-1)

    def is_of(self, other: Entry) -> bool:
        """Tell whether two receipts are of the same bytes, written at the same time.

        Parameters
        ----------
        other : Entry
            The other receipt.

        Returns
        -------
        bool
            Whether size, time of last change and hash are the same.

        Examples
        --------
        >>> Entry(1024, 0, sha256="aa").is_of(Entry(1024, 0, sha256="bb"))
        False
        """
        own = (self.size, self.mtime_ns, self.sha256)
        return own == (other.size, other.mtime_ns, other.sha256)

    def is_elsewhere(self, file: ImageFile) -> bool:
        """Tell whether this is another server's file of the same number.

        Parameters
        ----------
        file : ImageFile
            The file that is wanted.

        Returns
        -------
        bool
            False also if either does not say where it is from, and for equal bytes,
            as a copy of a server has them.

        Examples
        --------
        >>> here = ImageFile(3, 1, "/a.nii.gz", 1024, "2024", origin="neurovault.org")
        >>> there = ImageFile(3, 1, "/b.nii.gz", 512, "2025", origin="lab.org")
        >>> Entry(1024, 0, "", here).is_elsewhere(there)
        True
        """
        own = self.file
        if own is None or not own.origin or not file.origin:
            return False
        return own.origin != file.origin and not own.same_bytes_as(file)

    @classmethod
    def of_download(
        cls, file: ImageFile, receipt: Receipt, found: os.stat_result
    ) -> Entry:
        """Describe a file that was just downloaded.

        Parameters
        ----------
        file : ImageFile
            Which file it is.
        receipt : Receipt
            What the download says.
        found : os.stat_result
            What the disk says.

        Returns
        -------
        Entry
            What is known of it.

        Raises
        ------
        CorruptFileError
            If the two disagree.
        """
        if found.st_size != receipt.stored_size:
            msg = (
                f"{file.label}: {found.st_size:,} of {receipt.stored_size:,} bytes "
                "reached the disk; try again, or pass another data_dir=."
            )
            raise CorruptFileError(msg)
        return cls(
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            sha256=receipt.sha256,
            file=file,
            served_size=receipt.served_size,
            added=time.time(),
            last_modified=receipt.last_modified,
        )

    @classmethod
    def read(cls, path: Path) -> Entry | None:
        """Read a receipt.

        Parameters
        ----------
        path : pathlib.Path
            Its file.

        Returns
        -------
        Entry or None
            None if it is absent, damaged or of another version.

        Examples
        --------
        >>> Entry.read(Path("/no/such/receipt.json")) is None
        True
        """
        content = read_note(path)
        if content is None:
            return None
        try:
            return cls.from_json(content)
        except (KeyError, TypeError) as error:
            logger.warning("Passed over: %s is not a receipt (%r).", path, error)
            return None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Entry:
        """Read the content of a receipt.

        Parameters
        ----------
        content : mapping
            What `to_json` gives.

        Returns
        -------
        Entry
            The receipt.

        Raises
        ------
        KeyError, TypeError
            If it is none.

        Examples
        --------
        >>> Entry.from_json(Entry(1024, 0, sha256="").to_json()).size
        1024
        """
        file = content["file"]
        known = None if file is None else ImageFile(**file)
        return cls(**{**content, "file": known})

    def to_json(self) -> dict[str, Any]:
        """Give the content of a receipt.

        Returns
        -------
        dict
            JSON types only; never a token.

        Examples
        --------
        >>> Entry(1024, 0, sha256="").to_json()["size"]
        1024
        """
        content = {name: getattr(self, name) for name in Entry.__annotations__}
        if self.file is not None:
            content["file"] = {name: getattr(self.file, name) for name in _FILE_KEYS}
        return content


def stamp_of(found: os.stat_result) -> tuple[int, int, int]:
    """Give what changes whenever a file does.

    Parameters
    ----------
    found : os.stat_result
        The state of the file.

    Returns
    -------
    tuple of int
        Its number, size and time of last change in nanoseconds.

    Examples
    --------
    >>> here = Path.cwd().stat()
    >>> stamp_of(here) == (here.st_ino, here.st_size, here.st_mtime_ns)
    True
    """
    return found.st_ino, found.st_size, found.st_mtime_ns
