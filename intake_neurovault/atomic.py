"""Whole files or none: everything is written beside its place and then renamed.

A rename within one folder is the only step that other threads, processes and
machines can see, so no lock is needed (and on many cluster file systems a lock
would not hold). Writers of the same file cost each other duplicate work, never a
mixed file; a killed writer leaves a temporary that no reader takes for data and
that `sweep` removes a day later.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path

from intake_neurovault import halt
from intake_neurovault.errors import NeuroVaultError, StoreError

logger = logging.getLogger(__name__)

DAY = 86400.0
"""Age in seconds from which a temporary is taken for abandoned."""

_STRAY = re.compile(r"\.(part|new)-[0-9a-f]{32}-.+", re.DOTALL)


@contextmanager
def store_errors(root: Path) -> Iterator[None]:
    """Turn the errors of a system that refuses to write into those of the store.

    Parameters
    ----------
    root : pathlib.Path
        The store, for the message.

    Yields
    ------
    None
        To the statements that write.

    Raises
    ------
    StoreError
        In place of an ``OSError`` of the system. Errors of this package, those of
        connections, and those without an error number, which libraries make up,
        pass through.

    Examples
    --------
    >>> with store_errors(Path("/maps")):  # doctest: +ELLIPSIS
    ...     raise OSError(30, "Read-only file system")
    Traceback (most recent call last):
    ...
    intake_neurovault.errors.StoreError: The store /maps cannot be written...
    """
    try:
        yield
    except (NeuroVaultError, ConnectionError, TimeoutError):
        raise
    except OSError as error:
        if error.errno is None:
            raise
        msg = (
            f"The store {root} cannot be written ({error}); pass data_dir= with a "
            "folder that can be."
        )
        raise StoreError(msg) from error


@contextmanager
def temporary(path: Path, data: bytes = b"") -> Iterator[Path]:
    """Create a file beside a path, gone afterwards unless it was renamed.

    Parameters
    ----------
    path : pathlib.Path
        The place that the file is meant for; its folder must exist.
    data : bytes
        What is in it.

    Yields
    ------
    pathlib.Path
        A new file in the folder of `path`, created exclusively and with the
        permissions that the umask leaves. Its name begins with a dot and ends
        with the name of `path`, so that its suffixes are the same.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder, "map.nii.gz")
    ...     with temporary(place) as part:
    ...         written = part.write_bytes(b"...")
    ...         renamed = part.replace(place)
    ...     [entry.name for entry in Path(folder).iterdir()]
    ['map.nii.gz']
    """
    part = path.with_name(f".part-{uuid.uuid4().hex}-{path.name}")
    with halt.ending(partial(part.unlink, missing_ok=True)):
        # NOTE: mode "x" is O_CREAT | O_EXCL; tempfile.mkstemp would make a file that
        # nobody else may read, which defeats a store shared by a group.
        try:
            with part.open("xb", buffering=0) as sink:
                _write(sink, data)
            yield part
        finally:
            with suppress(OSError):
                part.unlink()


def write_bytes(path: Path, data: bytes, *, parents: bool = False) -> None:
    """Write a file as one rename.

    There is no fsync: it would cost a disk turn for each of thousands of small
    files, and what a power cut may leave is found when the file is read.

    Parameters
    ----------
    path : pathlib.Path
        The file; an older one is replaced.
    data : bytes
        Its content.
    parents : bool
        Whether to create the folders above it.

    Raises
    ------
    OSError
        If it cannot be written; an older file is then untouched.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder, "new", "a.json"), b"{}", parents=True)
    ...     Path(folder, "new", "a.json").read_bytes()
    b'{}'
    """
    try:
        with temporary(path, data) as part:
            part.replace(path)
    except FileNotFoundError:
        if not parents:
            raise
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)


def _write(sink: FileIO, data: bytes) -> None:
    # NOTE: a disk that is all but full takes a part, and refuses the rest.
    rest = memoryview(data)
    while rest:
        rest = rest[sink.write(rest) :]


def create_folder(folder: Path, name: str, data: bytes) -> bool:
    """Create a folder that has had a file in it for as long as it has existed.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; those above it are created.
    name : str
        The name of its first file.
    data : bytes
        The content of that file.

    Returns
    -------
    bool
        False if the folder was there before, or another writer was quicker; its
        content is then untouched.

    Raises
    ------
    OSError
        If it cannot be created.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     place = Path(root, "collection_1")
    ...     create_folder(place, "about.json", b"{}"), create_folder(place, "b", b"")
    (True, False)
    """
    if folder.is_dir():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".new-{uuid.uuid4().hex}-{folder.name}")
    staging.mkdir()
    try:
        (staging / name).write_bytes(data)
        staging.rename(folder)
    except OSError:
        # NOTE: the systems disagree about the error for a target that exists.
        if folder.is_dir():
            return False
        raise
    finally:
        _remove(staging)
    return True


def sweep(folder: Path, *, older_than: float = DAY) -> int:
    """Remove the temporaries that killed writers left in a folder.

    Only what bears the name of a temporary of this module is looked at, and
    sub-folders are not entered.

    Parameters
    ----------
    folder : pathlib.Path
        Where to look; it need not exist.
    older_than : float
        Seconds since the last change from which a temporary counts as abandoned.

    Returns
    -------
    int
        How many were removed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with temporary(Path(folder, "map.nii.gz")):
    ...         sweep(Path(folder)), sweep(Path(folder), older_than=-1)
    (0, 1)
    """
    limit = time.time() - older_than
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if is_temporary(entry.name)]
    except OSError:
        return 0
    return sum(_remove_old(folder / name, limit) for name in names)


def is_temporary(name: str) -> bool:
    """Tell whether a name is one that this module gives to what is not yet whole.

    Parameters
    ----------
    name : str
        Name of a file or folder, without the folders above it.

    Returns
    -------
    bool
        Whether it is a temporary.

    Examples
    --------
    >>> is_temporary(f".part-{'0' * 32}-map.nii.gz"), is_temporary(".part-map")
    (True, False)
    """
    return _STRAY.fullmatch(name) is not None


def _remove_old(stray: Path, limit: float) -> bool:
    try:
        if stray.lstat().st_mtime >= limit:
            return False
    except OSError:
        return False
    removed = _remove(stray)
    if removed:
        logger.info("Removed %s, left behind by an interrupted download.", stray)
    return removed


def _remove(stray: Path) -> bool:
    """Remove a temporary file, or a staging folder with the files in it."""
    try:
        if stat.S_ISDIR(stray.lstat().st_mode):
            for inside in stray.iterdir():
                inside.unlink()
            stray.rmdir()
        else:
            stray.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        logger.debug("%s stays: %s", stray, error)
        return False
    return True
