"""Files wherever they lie: on the disk, at an address that fsspec knows, or open."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from intake_neurovault.errors import ArgumentError, NeuroVaultError, ServerError
from intake_neurovault.resource import without_token

if TYPE_CHECKING:
    import fsspec

__all__ = ["LocalFile", "Origin", "is_address", "origin_of"]

_SECRETS = re.compile(r"(?<=//)[^/@\s]+@|[?#].*")
_TURN = threading.Lock()


class Origin(Protocol):
    """A file of which parts can be read, by many threads at a time."""

    @property
    def label(self) -> str:
        """What errors call the file."""

    def size(self) -> int | None:
        """Tell how long the file is; None if that is not known."""

    def part(self, start: int, stop: int) -> bytes:
        """Read bytes from `start` up to `stop`; fewer where the file ends."""

    def whole(self) -> AbstractContextManager[BinaryIO]:
        """Open the file at its start."""


@dataclass(frozen=True)
class LocalFile:
    """A file on a disk of this machine."""

    path: Path
    """Where."""

    @property
    def label(self) -> str:
        """The path."""
        return str(self.path)

    def size(self) -> int | None:
        """Ask the disk.

        Returns
        -------
        int
            Bytes of the file.
        """
        return self.path.stat().st_size

    def part(self, start: int, stop: int) -> bytes:
        """Read a part.

        Parameters
        ----------
        start, stop : int
            The first byte, and the one behind the last.

        Returns
        -------
        bytes
            Fewer where the file ends.
        """
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    def whole(self) -> AbstractContextManager[BinaryIO]:
        """Open the file.

        Returns
        -------
        context manager of a binary file
            Unbuffered.
        """
        return cast("AbstractContextManager[BinaryIO]", self.path.open("rb", 0))


@dataclass(frozen=True)
class RemoteFile:
    """A file that a filesystem of fsspec gives."""

    filesystem: fsspec.AbstractFileSystem
    """Which filesystem."""
    path: str = field(repr=False)
    """Where on it."""
    label: str
    """The address, without what is secret in it."""

    def size(self) -> int | None:
        """Ask the filesystem.

        Returns
        -------
        int or None
            Bytes of the file, if the filesystem knows.
        """
        with _told(self.label):
            size: int | None = self.filesystem.size(self.path)
            return size

    def part(self, start: int, stop: int) -> bytes:
        """Read a part.

        Parameters
        ----------
        start, stop : int
            The first byte, and the one behind the last.

        Returns
        -------
        bytes
            Fewer where the file ends.
        """
        with _told(self.label):
            found: bytes = self.filesystem.cat_file(self.path, start=start, end=stop)
        # NOTE: a server of HTTP that knows no ranges sends the whole file.
        return found if len(found) <= stop - start else found[start:stop]

    def whole(self) -> AbstractContextManager[BinaryIO]:
        """Fetch the file.

        Returns
        -------
        context manager of a binary file
            In memory: of what is gzipped, every byte is needed to check it.
        """
        with _told(self.label):
            return io.BytesIO(self.filesystem.cat_file(self.path))


@dataclass(frozen=True, eq=False)
class OpenedFile:
    """A file that somebody else has opened, and closes."""

    file: BinaryIO = field(repr=False)
    """The file; its position is of no account."""

    @property
    def label(self) -> str:
        """The name of the file, if it has one."""
        name = getattr(self.file, "name", None)
        return name if isinstance(name, str) else "the open file"

    def size(self) -> int | None:
        """Look for its end.

        Returns
        -------
        int
            Bytes of the file.
        """
        with _TURN:
            return self.file.seek(0, os.SEEK_END)

    def part(self, start: int, stop: int) -> bytes:
        """Read a part.

        Parameters
        ----------
        start, stop : int
            The first byte, and the one behind the last.

        Returns
        -------
        bytes
            Fewer where the file ends.
        """
        # NOTE: one lock for all, since a lock of its own could not be pickled.
        with _TURN:
            self.file.seek(start)
            return self.file.read(stop - start)

    def whole(self) -> AbstractContextManager[BinaryIO]:
        """Read the file.

        Returns
        -------
        context manager of a binary file
            In memory.
        """
        with _TURN:
            self.file.seek(0)
            return io.BytesIO(self.file.read())


def is_address(name: str) -> bool:
    """Tell an address from a path.

    Parameters
    ----------
    name : str
        Either.

    Returns
    -------
    bool
        Whether fsspec is to open it.

    Examples
    --------
    >>> is_address("simplecache::https://lab.org/a.nii.gz"), is_address("a.nii.gz")
    (True, False)
    """
    return "://" in name or "::" in name


def origin_of(source: object, storage_options: Mapping[str, Any] | None) -> Origin:
    """Understand what may be given for a file.

    Parameters
    ----------
    source : path, str or binary file object
        A local path, an address that fsspec knows, chained ones too, or an open file
        that can be read and sought.
    storage_options : mapping or None
        What fsspec is given besides an address.

    Returns
    -------
    Origin
        The file, nothing of which has been read yet.

    Raises
    ------
    ArgumentError
        If it is none of these, or options are given with what is no address.

    Examples
    --------
    >>> origin_of("maps/a.nii.gz", None)
    LocalFile(path=PosixPath('maps/a.nii.gz'))
    """
    if hasattr(source, "fs") and hasattr(source, "path") and hasattr(source, "open"):
        return RemoteFile(source.fs, source.path, _shown(source.path))
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    if isinstance(name, str) and is_address(name):
        return _addressed(name, storage_options or {})
    if storage_options:
        msg = (
            "storage_options= goes with an address such as https://… or "
            f"simplecache::…, which {source!r} is not; leave it out"
        )
        raise ArgumentError(msg)
    if name:
        return LocalFile(Path(os.fsdecode(name)).expanduser())
    if isinstance(source, bytes | bytearray | memoryview):
        return OpenedFile(io.BytesIO(source))
    if hasattr(source, "read") and hasattr(source, "seek"):
        return OpenedFile(cast("BinaryIO", source))
    msg = (
        f"{source!r} is no NIfTI file; give the path or the address of a .nii or "
        ".nii.gz file, or one opened in binary mode"
    )
    raise ArgumentError(msg)


def _addressed(name: str, options: Mapping[str, Any]) -> Origin:
    # NOTE: who opens local files need not wait for this import.
    core = import_module("fsspec.core")
    # NOTE: `url_to_fs` takes the option `url` of NeuroVault's filesystem for its own.
    filesystem, _, (path,) = core.get_fs_token_paths(
        name, storage_options=dict(options), expand=False
    )
    local = import_module("fsspec.implementations.local").LocalFileSystem
    if isinstance(filesystem, local):
        return LocalFile(Path(path))
    return RemoteFile(filesystem, path, _shown(name))


@contextmanager
def _told(label: str) -> Iterator[None]:
    """Turn errors that only one filesystem knows into one that all know."""
    try:
        yield
    except (OSError, NeuroVaultError):
        raise
    except Exception as error:
        # NOTE: each filesystem of fsspec has errors of its own, which show addresses.
        msg = f"{label}: the file cannot be had ({type(error).__name__}); try again"
        raise ServerError(msg) from error


def _shown(name: str) -> str:
    """Take out of an address what lets its reader in."""
    return without_token(_SECRETS.sub("", name))
