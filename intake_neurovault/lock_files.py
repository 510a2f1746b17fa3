"""Frozen queries on disk: a catalog, and beside it the lock that it points to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from intake_neurovault import atomic
from intake_neurovault.catalog_files import named_after
from intake_neurovault.errors import ArgumentError, LockError, StoreError
from intake_neurovault.locks import KIND, Lock
from intake_neurovault.templates import templated

SUFFIX = ".lock.json"
"""What the names of lock files end in."""

# NOTE: how hard to try, and when to ask, is the affair of whoever opens it.
_NOT_WRITTEN = frozenset(
    {
        "errors",
        "frozen",
        "keep_gridded",
        "metadata_ttl",
        "mode",
        "progress",
        "retries",
        "timeout",
        "workers",
    }
)
_LINK = "{{ CATALOG_DIR }}"
_PACKAGES = ("intake-neurovault", "nibabel", "nilearn", "numpy", "scipy", "xarray")


def versions() -> tuple[tuple[str, str], ...]:
    """Tell the versions of the packages on which values on a grid depend.

    Returns
    -------
    tuple of (str, str)
        Names and versions.

    Examples
    --------
    >>> [name for name, _ in versions()][:2]
    ['intake-neurovault', 'nibabel']
    """
    return tuple((name, version(name)) for name in _PACKAGES)


@dataclass(frozen=True)
class Target:
    """Where a frozen query is written.

    Examples
    --------
    >>> target = Target.parse("hand maps.yaml")
    >>> target.name, target.lock.name
    ('hand_maps', 'hand maps.lock.json')
    """

    catalog: Path
    """The catalog."""
    lock: Path
    """The lock beside it."""
    name: str
    """Of the entry."""

    @classmethod
    def parse(
        cls,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        overwrite: bool = False,
    ) -> Target:
        """Read where to write, before anything is fetched.

        Parameters
        ----------
        path : path
            The catalog, ``.yaml`` or ``.yml``.
        name : str, optional
            Of the entry; that of the file if absent.
        overwrite : bool
            Whether what an earlier call wrote is replaced.

        Returns
        -------
        Target
            The place.

        Raises
        ------
        ArgumentError
            If it is no such path or name, if files are there and may not be replaced,
            or if they are not ours.
        """
        catalog = Path(os.fsdecode(path)).expanduser()
        if catalog.suffix.lower() not in (".yaml", ".yml"):
            msg = (
                f"freeze({os.fsdecode(path)!r}) must name a catalog, such as "
                "'maps.yaml'; the lock, maps.lock.json, is written beside it."
            )
            raise ArgumentError(msg)
        called = named_after(catalog) if name is None else name
        if not (isinstance(called, str) and called.isidentifier()):
            msg = (
                f"name={name!r} cannot be the name of an entry; use letters, digits "
                "and underscores, so that catalog.name opens it."
            )
            raise ArgumentError(msg)
        target = cls(catalog, catalog.with_suffix(SUFFIX), called)
        target._check(overwrite=overwrite)
        return target

    def _check(self, *, overwrite: bool) -> None:
        there = [each for each in (self.catalog, self.lock) if _exists(each)]
        if not there:
            return
        if not overwrite:
            msg = (
                f"{there[0]} exists already; pass overwrite=True to replace what was "
                "frozen there, or another path."
            )
            raise ArgumentError(msg)
        for place, ours in ((self.catalog, _is_our_catalog), (self.lock, _is_lock)):
            if place in there and not ours(place):
                msg = (
                    f"{place} holds something else than one frozen query, and is not "
                    "replaced; pass another path."
                )
                raise ArgumentError(msg)

    def write(self, lock: Lock, arguments: Mapping[str, Any]) -> Path:
        """Write the catalog and the lock, both or none.

        Parameters
        ----------
        lock : Lock
            What is frozen.
        arguments : mapping
            The arguments of a search about all but the query.

        Returns
        -------
        pathlib.Path
            The catalog.

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        link = f"{_LINK}/{self.lock.name}"
        rest = {k: v for k, v in arguments.items() if k not in _NOT_WRITTEN}
        words = {"fetch_neurosynth_words": True} if lock.query.words else {}
        entry = {
            "driver": "neurovault",
            "description": _description(lock),
            "args": {"frozen": link, **words, **templated(rest)},
        }
        head = _HEAD.format(
            number=len(lock.images),
            day=lock.day,
            lock=self.lock.name,
            catalog=self.catalog.name,
            name=self.name,
        )
        body = yaml.safe_dump(
            {"sources": {self.name: entry}}, sort_keys=False, allow_unicode=True
        )
        written = json.dumps(lock.to_json(), indent=1)
        try:
            self._replace(f"{head}{body}".encode(), f"{written}\n".encode())
        except OSError as error:
            msg = (
                f"{self.catalog} cannot be written ({error.strerror or error}); freeze "
                "to another path."
            )
            raise StoreError(msg) from error
        return self.catalog

    def _replace(self, catalog: bytes, lock: bytes) -> None:
        self.catalog.parent.mkdir(parents=True, exist_ok=True)
        before = self.lock.read_bytes() if _exists(self.lock) else None
        with (
            atomic.temporary(self.lock, lock) as new_lock,
            atomic.temporary(self.catalog, catalog) as new_catalog,
        ):
            new_lock.replace(self.lock)
            try:
                new_catalog.replace(self.catalog)
            except OSError:
                if before is None:
                    self.lock.unlink()
                else:
                    atomic.write_bytes(self.lock, before)
                raise


_HEAD = """\
# {number} images of NeuroVault, frozen on {day}: the same maps and the same table for
# as long as their files are in the local store or on the server. To open it:
#     intake.open_catalog("{catalog}").{name}.to_dask()
# Keep it together with {lock}, which lists the files and the records.
"""


def read_lock(path: str | os.PathLike[str]) -> Lock:
    """Read a lock file.

    Parameters
    ----------
    path : path
        The file; ``file://`` in front of it does no harm.

    Returns
    -------
    Lock
        What was frozen.

    Raises
    ------
    LockError
        If it is absent, damaged, altered, or of another format.

    Examples
    --------
    >>> read_lock("/no/such/maps.lock.json")
    Traceback (most recent call last):
        ...
    intake_neurovault.errors.LockError: The lock /no/such/maps.lock.json cannot be \
read (No such file or directory); it belongs beside the catalog that was frozen with \
it: put it there, or freeze the query again.
    """
    text = os.fsdecode(path)
    parts = urlsplit(text)
    if parts.scheme == "file":
        text = unquote(parts.path)
    elif "://" in text:
        msg = f"The lock {text} is not on this machine; download it and its catalog."
        raise LockError(msg)
    name = f"The lock {text}"
    if text.endswith((".yaml", ".yml")):
        lock = f"{text.rpartition('.')[0]}{SUFFIX}"
        msg = (
            f"frozen={text!r} is a catalog: open it with intake.open_catalog, or pass "
            f"the lock beside it, frozen={lock!r}."
        )
        raise LockError(msg)
    try:
        content = json.loads(Path(text).expanduser().read_text("utf-8"))
    except OSError as error:
        msg = (
            f"{name} cannot be read ({error.strerror}); it belongs beside the catalog "
            "that was frozen with it: put it there, or freeze the query again."
        )
        raise LockError(msg) from error
    except ValueError as error:
        msg = (
            f"{name} is damaged ({error}); put a copy of the original in its place, or "
            "freeze the query again."
        )
        raise LockError(msg) from error
    return Lock.from_json(content, name)


def _is_our_catalog(path: Path) -> bool:
    """Whether a file is what `Target.write` writes, and no more."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        ((_, entry),) = content["sources"].items()
        frozen = entry["args"]["frozen"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return False
    ours = frozen == f"{_LINK}/{path.with_suffix(SUFFIX).name}"
    return ours and entry.get("driver") == "neurovault" and [*content] == ["sources"]


def _is_lock(path: Path) -> bool:
    """Whether a file is a lock, though perhaps a damaged or a newer one."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def _description(lock: Lock) -> str:
    number = len(lock.images)
    images = "1 image" if number == 1 else f"{number} images"
    return f"{images} frozen on {lock.day}: {lock.query.describe()}"


def _exists(path: Path) -> bool:
    # NOTE: a link that leads nowhere is there too.
    return path.exists() or path.is_symlink()
