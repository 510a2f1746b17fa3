"""The folders of an archive as fsspec sees them, wherever their records come from.

Paths, listings in memory, and work on many files at a time; what is asked of whom
is for the filesystems to say.
"""

from __future__ import annotations

import errno
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from glob import has_magic
from inspect import Signature, signature
from typing import IO, Any

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import stringify_path, tokenize

from intake_neurovault import layout
from intake_neurovault.client import Client
from intake_neurovault.entries import (
    FOLDERS,
    ROOT,
    Entry,
    Folder,
    contents,
    describe,
    failure_at,
    file_at,
    folder_at,
)
from intake_neurovault.errors import (
    MissingError,
    NeuroVaultError,
    NeuroVaultWarning,
    OfflineError,
)
from intake_neurovault.instances import (
    Surroundings,
    check_writable,
    guarded,
    parse_private,
)
from intake_neurovault.known import digest
from intake_neurovault.layout import Location
from intake_neurovault.pool import Pool, Report
from intake_neurovault.records import Collection, CollectionRef, Image, Token

_ABSENT = (FileNotFoundError, PermissionError)
_Kind: Any = type(AbstractFileSystem)


class _Instances(_Kind):
    """fsspec's memory of instances, which keeps the options as they are given."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return super().__call__(*map(guarded, args), **guarded(options))


class Tree(AbstractFileSystem, metaclass=_Instances):
    """What both filesystems share: paths, listings, and lists of files."""

    root_marker = ""
    surroundings = Surroundings()
    # NOTE: fsspec gives the same instance for the same options, which is another
    # filesystem once a variable has changed that an option falls back on.
    _extra_tokenize_attributes = ("surroundings",)
    client: Client
    pool: Pool
    __signature__: Signature

    def __init__(self, private: object, **listing_options: Any) -> None:
        super().__init__(**listing_options)
        self.private = parse_private(private)
        self._numbers: dict[str, int] = {}
        self._answered: dict[int, Collection] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # NOTE: the metaclass would show its own signature, which says nothing.
        _, *options = signature(cls.__init__).parameters.values()
        cls.__signature__ = Signature(options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text: str = stringify_path(path)
        for prefix in (f"{cls.protocol}::", f"{cls.protocol}://", "neurovault://"):
            text = text.removeprefix(prefix)
        return text.strip("/")

    def _list(self, collection_id: int | None) -> Folder:
        raise NotImplementedError

    def _ask(self, ref: CollectionRef) -> Collection:
        raise NotImplementedError

    def _image(self, location: Location) -> Image:
        raise NotImplementedError

    def _stamp(self, collection_id: int | None) -> object:
        """Give what must not have changed for a listing in memory to hold."""

    def _as_kept(self, entry: Entry) -> Entry:
        return entry

    def ls(
        self, path: str, detail: bool = True, refresh: bool = False, **_: Any
    ) -> list[Any]:
        """List a folder; `refresh` asks anew instead of using what is known."""
        path = self._strip_protocol(path)
        location = layout.parse(path)
        if refresh:
            self.invalidate_cache(path)
        if location.kind not in FOLDERS:
            found = [self._entry(location)]
        else:
            folder = self._listed(location.collection_id)
            records = folder.records.values()
            if folder.about is None:
                found = [describe("collection", each, self.client) for each in records]
            else:
                found = contents(folder.about, records, self.client)
        found = [self._as_kept(entry) for entry in found]
        return found if detail else sorted(entry["name"] for entry in found)

    def info(self, path: str, **_: Any) -> Entry:
        """Describe a file or folder; one request, or none if its folder is known."""
        location = layout.parse(self._strip_protocol(path))
        return self._as_kept(self._entry(location))

    def exists(self, path: str, **_: Any) -> bool:
        """Tell whether something is there; an error if that cannot be found out."""
        try:
            self.info(path)
        except _ABSENT:
            return False
        return True

    def isdir(self, path: str) -> bool:
        """Tell whether this is a collection, or the folder of all."""
        return self._kind(path) in FOLDERS and self.exists(path)

    def isfile(self, path: str) -> bool:
        """Tell whether this is an image, or a record."""
        return self._kind(path) not in (*FOLDERS, None) and self.exists(path)

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Any = "omit",
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Walk down; ``omit`` leaves out what is absent, not what fails to answer."""
        handler = _omit_absent if on_error == "omit" else on_error
        yield from super().walk(path, maxdepth, topdown, handler, **kwargs)

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **kwargs: Any,
    ) -> Any:
        """List all files below a path."""
        path = self._strip_protocol(path)
        if kwargs.pop("refresh", False):
            self.invalidate_cache(path)
        if withdirs and self._kind(path) == "collection":
            # NOTE: once the folder is known, its own entry needs no further request.
            with suppress(*_ABSENT):
                self._listed(layout.parse(path).collection_id)
        return super().find(path, maxdepth, withdirs, detail, **kwargs)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Find by pattern; only collections whose own name matches are listed."""
        folders, _, rest = self._strip_protocol(path).partition("/")
        if not rest or not has_magic(folders) or "**" in folders:
            return super().glob(path, maxdepth, **kwargs)
        rest += "/" if path.endswith("/") else ""
        merged: dict[str, Entry] = {}
        found: list[str] = []
        for folder in super().glob(folders):
            matches = super().glob(f"{folder}/{rest}", maxdepth, **kwargs)
            if kwargs.get("detail", False):
                merged |= matches
            else:
                found += matches
        return merged if kwargs.get("detail", False) else found

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any
    ) -> Any:
        """Read one file, or several at a time."""
        paths = self.expand_path(path, recursive, kwargs.pop("maxdepth", None))
        if recursive:
            paths = [each for each in paths if self._kind(each) not in FOLDERS]
        if not isinstance(path, list) and paths == [self._strip_protocol(path)]:
            return self.cat_file(paths[0], **kwargs)
        found = {}
        with self.pool.map(partial(self.cat_file, **kwargs), paths) as outcomes:
            for each, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError) and on_error == "raise":
                    raise outcome
                if not isinstance(outcome, NeuroVaultError) or on_error == "return":
                    found[each] = outcome
        return found

    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Callback = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy to local files, each whole or not at all; raise failures at the end."""
        plan = _Plan(self)
        target = lpath if isinstance(lpath, list) else os.fspath(lpath)
        AbstractFileSystem.get(plan, rpath, target, recursive, maxdepth=maxdepth)
        callback.set_size(len(plan.pairs))

        def fetch(pair: tuple[str, str]) -> None:
            with callback.branched(*pair) as child:
                self.get_file(*pair, callback=child, **kwargs)

        report, errors = Report("skip"), []
        with self.pool.map(fetch, plan.pairs) as outcomes:
            for (path, _), outcome in outcomes:
                if outcome is None:
                    report.succeeded()
                    callback.relative_update()
                else:
                    errors.append(outcome)
                    report.failed(failure_at(path, outcome), outcome)
        if errors:
            errors[0].failures = tuple(report.failures)
            raise errors[0]

    def du(self, path: str, total: bool = True, *args: Any, **kwargs: Any) -> Any:
        """Add sizes up; a file whose size is not known beforehand counts nothing."""
        sizes = super().du(path, False, *args, **kwargs)
        return sum(size or 0 for size in sizes.values()) if total else sizes

    def created(self, path: str) -> Any:
        """Tell when a collection or image was added, if the server says so."""
        return self.info(path).get("created")

    def modified(self, path: str) -> Any:
        """Tell when a collection or image last changed, if the server says so."""
        return self.info(path).get("mtime")

    def ukey(self, path: str) -> str:
        """Give a text that changes when the server changes the file."""
        entry = self.info(path)
        identity = ("name", "nv_id", "url", "size", "mtime")
        return str(tokenize([str(entry.get(key)) for key in identity]))

    def checksum(self, path: str) -> int:
        """Give a number that changes when the server changes the file."""
        return int(self.ukey(path), 16)

    def to_dict(self, **options: Any) -> dict[str, Any]:
        """Write the options down, as ``to_json`` does; not with a literal token."""
        check_writable(self.private)
        return dict(super().to_dict(**options))

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what was listed: all, or one collection."""
        super().invalidate_cache(path)
        self._answered.clear()
        folder = self._strip_protocol(path or "").partition("/")[0]
        if folder:
            self.dircache.pop(folder, None)
        else:
            self.dircache.clear()

    def _refuse(self, path: object = None, *_: Any, **__: Any) -> Any:
        """Refuse to write."""
        msg = "NeuroVault can be read only; write to another filesystem"
        raise OSError(errno.EROFS, msg, f"{path}")

    mkdir = makedirs = rmdir = rm = rm_file = mv = cp_file = _refuse
    touch = pipe_file = put_file = _refuse

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        if mode != "rb":
            self._refuse(path)
        return self._opened(self._locate(path))

    def _locate(self, path: str) -> Location:
        return file_at(self._strip_protocol(path))

    def _opened(self, location: Location) -> IO[bytes]:
        raise NotImplementedError

    def _kind(self, path: str) -> str | None:
        try:
            return layout.parse(self._strip_protocol(path)).kind
        except MissingError:
            return None

    def _entry(self, location: Location) -> Entry:
        if location.kind == "root":
            return dict(ROOT)
        return describe(location.kind, self._record(location), self.client)

    def _record(self, location: Location) -> Collection | Image:
        if location.image_id is not None:
            return self._image(location)
        return self._collection(location.collection_id or 0)

    def _collection(self, collection_id: int) -> Collection:
        own, every = self._remembered(collection_id), self._remembered(None)
        known = (own and own.about) or (every and every.records.get(collection_id))
        return known or self._find_collection(collection_id)

    def _find_collection(self, collection_id: int) -> Collection:
        ref = self._token(collection_id) or collection_id
        return self._answered.pop(collection_id, None) or self._ask(ref)

    def _token(self, collection_id: int) -> Token | None:
        every = self._remembered(None)
        known = every.records.get(collection_id) if every else None
        return known.token if known else self._private_ids().get(collection_id)

    def _private_ids(self) -> dict[int, Token]:
        """Tell which number each token stands for: one request for each, once."""
        found = {}
        for token in self.private:
            key = digest(token)
            with suppress(OfflineError):
                if key not in self._numbers:
                    answer = self._ask(token)
                    self._answered[answer.id] = answer
                    self._numbers[key] = answer.id
                found[self._numbers[key]] = token
        return found

    def _with_private(self, collections: dict[int, Collection]) -> Any:
        for number in self._private_ids():
            collections[number] = self._find_collection(number)
        return dict(sorted(collections.items()))

    def _known_image(self, location: Location) -> tuple[Image, Collection] | None:
        folder = self._remembered(location.collection_id)
        image = folder.records.get(location.image_id or 0) if folder else None
        return (image, folder.about) if image and folder and folder.about else None

    def _listed(self, collection_id: int | None) -> Folder:
        known = self._remembered(collection_id)
        if known is not None:
            return known
        fresh = self._list(collection_id)
        folder = replace(fresh, stamp=self._stamp(collection_id))
        if folder.failures:
            where = "of collections" if collection_id is None else f"of {collection_id}"
            msg = (
                f"The list {where} is not complete, {len(folder.failures)} things are "
                f"missing; list it again later. First: {folder.failures[0].reason}"
            )
            warnings.warn(msg, NeuroVaultWarning, stacklevel=3)
        else:
            self.dircache[folder_at(collection_id)] = folder
        return folder

    def _remembered(self, collection_id: int | None) -> Folder | None:
        known: Folder | None = self.dircache.get(folder_at(collection_id))
        if known is None or time.time() > known.until:
            return None
        return known if known.stamp == self._stamp(collection_id) else None


class _Plan:
    """Takes down which files fsspec would copy, and where to."""

    def __init__(self, filesystem: Tree) -> None:
        self.expand_path = filesystem.expand_path
        self.isdir = filesystem.isdir
        self.pairs: list[tuple[str, str]] = []

    def get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        self.pairs.append((rpath, lpath))


def _omit_absent(error: OSError) -> None:
    if not isinstance(error, _ABSENT):
        raise error
