"""Whether a file is one whole NIfTI file: told from all of its bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from intake_neurovault import halt
from intake_neurovault.crew import Crew
from intake_neurovault.forks import PerProcess
from intake_neurovault.inflation import GZIP_MAGIC, Bytes, inflate
from intake_neurovault.integrity import MAX_BYTES, SLACK, NiftiStream, RawHeader

SMALL = 1 << 23
"""The most bytes of a file that is checked in one piece: 8 MiB."""

_COPIED = 1 << 20
_BLOCK = 1 << 17  # larger ones only take memory
_SMALL_INFLATED = 1 << 25
_GZIP_LEVEL = 6
_AT_ONCE = min(4, os.cpu_count() or 1)
# NOTE: more checks at a time than can really run would only take memory; and the same
# few threads use the same memory again, where each of many would have its own. They
# stand back, since what they do can wait while an answer is received, and the next
# request made.
_CHECKS = PerProcess(partial(threading.Semaphore, _AT_ONCE))
_CREW = PerProcess(partial(Crew, _AT_ONCE, behind=True))


@dataclass(frozen=True)
class FileFacts:
    """What a complete check of a file found out."""

    size: int
    """Bytes of the file as it is."""
    sha256: str
    """Hexadecimal SHA-256 of the file as it is."""
    gzipped: bool
    """Whether the file is gzipped, whatever its name says."""


def check_file(path: Path, *, label: str, limit: int = MAX_BYTES) -> FileFacts:
    """Read a file to its end and make sure that it is one whole NIfTI file.

    Parameters
    ----------
    path : Path
        The file, gzipped or plain, under any name.
    label : str
        What errors call it, such as ``"image 3 (collection 1)"``.
    limit : int, optional
        The most bytes that the header may declare; 4 GiB unless given.

    Returns
    -------
    FileFacts
        Size, SHA-256 and whether the file is gzipped.

    Raises
    ------
    CorruptFileError
        If it is empty, not single-file NIfTI-1 or NIfTI-2, cut off, damaged, shorter
        than its header declares, or longer by more than 1 MiB.

    Notes
    -----
    Every gzip member must be complete and agree with its CRC-32 and length [1]_.
    Zeros behind the last one are padding, as the standard library's ``gzip`` has it.
    Up to 1 MiB behind the numbers is allowed, where some programs leave notes.

    References
    ----------
    .. [1] RFC 1952, GZIP file format specification version 4.3, section 2.3.1.
    """
    data = path.read_bytes() if path.stat().st_size <= SMALL else b""
    facts = check_bytes(data, limit=limit)
    if facts is not None:
        return facts
    with halt.holding(_CHECKS.get()):
        return _piece_by_piece(path, label, limit)


def check_bytes(data: Bytes, *, limit: int = MAX_BYTES) -> FileFacts | None:
    """Look whether bytes in memory are one whole gzipped NIfTI file.

    Parameters
    ----------
    data : bytes or bytearray
        The bytes of a file.
    limit : int, optional
        The most bytes that the header may declare; 4 GiB unless given.

    Returns
    -------
    FileFacts or None
        What `check_file` would say; None if only that can tell: if there are none or
        more than `SMALL` of them, or if they are not surely whole.

    Examples
    --------
    >>> check_bytes(b"<html>") is None
    True
    """
    if not 0 < len(data) <= SMALL:
        return None
    return _CREW.get().submit(partial(_in_one_piece, limit=limit), data).result()


def _in_one_piece(data: Bytes, limit: int) -> FileFacts | None:
    """Check a small file quickly; None if it is not surely whole."""
    # NOTE: each call of a library lets another thread of Python go on for a while,
    # and of a small file's time these changes would be the larger part.
    gzipped = data[:2] == GZIP_MAGIC
    plain = inflate(data, min(limit, _SMALL_INFLATED)) if gzipped else data
    header = None if plain is None else RawHeader.of(bytes(plain[:540]))
    if header is None or plain is None:
        return None
    if not header.end <= len(plain) <= min(limit, header.end + SLACK):
        return None
    return FileFacts(len(data), hashlib.sha256(data).hexdigest(), gzipped)


def _piece_by_piece(path: Path, label: str, limit: int) -> FileFacts:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as source:
        stream = NiftiStream(source, label, digest.update)
        header = stream.header()
        header.check_declared(label, limit)
        found = len(header.block)
        while found <= header.end + SLACK and (part := stream.read(_BLOCK)):
            found += len(part)
        size = source.tell()
    header.check_found(label, found)
    return FileFacts(size, digest.hexdigest(), stream.gzipped)


def compress_file(source: Path, target: Path) -> None:
    """Gzip a file so that equal bytes give equal bytes, with any one version of zlib.

    Parameters
    ----------
    source : Path
        The file to read.
    target : Path
        The file to write; replaced if it exists.
    """
    with (
        source.open("rb") as plain,
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed,
    ):
        shutil.copyfileobj(plain, packed, _COPIED)
