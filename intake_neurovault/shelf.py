"""The image files of the store, and the memory of which of them are whole.

A file is read to its end when it is used for the first time, whoever brought it;
its size and time of last change tell from then on whether it is still that file.
The memory is a receipt for each image, kept beside nilearn's tree, or in the memory
of the process where the store cannot be written.
"""

from __future__ import annotations

import logging
import os
import stat
import time
import uuid
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from intake_neurovault import atomic, layout
from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    NeuroVaultWarning,
    StoreError,
)
from intake_neurovault.gifti import check_gifti
from intake_neurovault.ledger import Ledger, warn_once
from intake_neurovault.receipts import Entry, stamp_of
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.sidecars import read_image
from intake_neurovault.surfaces import (
    SurfaceFile,
    counterpart,
    place_of,
    receipt_of,
)
from intake_neurovault.wholeness import check_file, compress_file

logger = logging.getLogger(__name__)

_UNSAVED: dict[Path, Entry] = {}

# NOTE: identities hold no host, so any will do to read the path out of a record.
_ANY_SERVER = "https://neurovault.org"


@dataclass(frozen=True)
class Shelf(Ledger):
    """The image files of one store.

    Examples
    --------
    >>> shelf = Shelf(Path("/no/such/store"))
    >>> file = ImageFile(3, 12, "/media/images/12/t.nii.gz", 1024, "2024-05-01")
    >>> shelf.place(file).as_posix(), shelf.local_path(file)
    ('/no/such/store/collection_12/image_3.nii.gz', None)
    """

    read_only: bool = False
    """Whether nilearn's files are never touched; ours beside them may be."""

    def local_path(self, file: ImageFile) -> Path | None:
        """Give the local file of an image, verified.

        Whether the server has changed it since is for `is_current` to say.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        pathlib.Path or None
            None if it is not there, damaged, or that of another server. A damaged
            one is moved to the quarantine, and one that was stored without its gzip
            is gzipped, unless the store is `read_only`.

        Warns
        -----
        NeuroVaultWarning
            If the file is damaged, or if the outcome cannot be kept for the next
            process.
        """
        place = self.place(file)
        while (found := look(place)) is not None:
            entry = self._entry(file)
            if entry is not None and entry.holds_for(found):
                return None if entry.is_elsewhere(file) else place
            try:
                verified = self._verify(file, place)
            except OSError as error:
                if is_same(found, look(place)):
                    self._set_aside(place, error)
                    return None
                continue
            known = self._identified(file, verified, entry)
            if not _on_its_way(entry, verified):
                self.remember(file, known)
            return None if known.is_elsewhere(file) else place
        return None

    def doubt(self, file: ImageFile) -> None:
        """Have a local file read to its end when it is wanted next.

        A power cut may take bytes and leave size and time of last change, so that
        the receipt of a damaged file still holds.

        Parameters
        ----------
        file : ImageFile
            The file.

        Warns
        -----
        NeuroVaultWarning
            As `remember`.
        """
        entry = self.receipt(file)
        if entry is not None:
            self.remember(file, entry.doubted())

    def is_unusable(self, file: ImageFile) -> bool:
        """Tell whether there is a local file that `local_path` refused.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        bool
            Whether it is damaged or cannot be read; False if no file is there, or
            that of another server.
        """
        there = look(self.place(file)) is not None
        return there and self.receipt(file) is None

    def is_current(self, file: ImageFile) -> bool:
        """Tell whether the local file holds the bytes that the server has now.

        Parameters
        ----------
        file : ImageFile
            The file as the server describes it now.

        Returns
        -------
        bool
            Whether image, path, size and date of change are those of the local
            file, by its receipt or else by the record beside it.
        """
        if look(self.place(file)) is None:
            return False
        entry = self.receipt(file)
        known = (entry and entry.file) or self._recorded(file)
        return known is not None and file.same_bytes_as(known)

    def receipt(self, file: ImageFile) -> Entry | None:
        """Give what is known of the local file.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        Entry or None
            Its receipt; None if no verified file is there.
        """
        found = look(self.place(file))
        entry = self._entry(file) if found else None
        return entry if entry and found and entry.holds_for(found) else None

    def added(self, file: ImageFile) -> float | None:
        """Tell when the local file was downloaded.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        float or None
            Unix time; None if it is not there or others brought it.
        """
        entry = self.receipt(file)
        return entry.added if entry else None

    def last_modified(self, file: ImageFile) -> str | None:
        """Tell since when the server must not have changed a file to be spared.

        Parameters
        ----------
        file : ImageFile
            The file as the server describes it now.

        Returns
        -------
        str or None
            The header ``Last-Modified`` of the local file's download, if path and
            size are still the same, so that only the record may have changed; None
            if nothing but a download can tell.
        """
        entry = self.receipt(file)
        if entry is None or entry.file is None:
            return None
        same = replace(entry.file, modify_date=file.modify_date).same_bytes_as(file)
        return entry.last_modified if same and not entry.is_elsewhere(file) else None

    def place(self, file: ImageFile) -> Path:
        """Tell where the local file of an image is, or would be.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        pathlib.Path
            Absolute; nothing need be there.
        """
        return self.root / place_of(file)

    def remember(self, file: ImageFile, entry: Entry) -> None:
        """Keep what is known of a verified file.

        Parameters
        ----------
        file : ImageFile
            The file.
        entry : Entry
            What is known.

        Warns
        -----
        NeuroVaultWarning
            If it cannot be written; once for each store. The process then remembers.
        """
        try:
            self.save_note(receipt_of(file), entry.to_json())
            _UNSAVED.pop(self.place(file), None)
        except StoreError as error:
            _UNSAVED[self.place(file)] = entry
            meanwhile = "Until then each process verifies the files of this store anew."
            warn_once(self.root, error, meanwhile)

    def confirm(self, file: ImageFile) -> None:
        """Note that the local file is still the server's, under a new record.

        Parameters
        ----------
        file : ImageFile
            The file as the server describes it now.

        Warns
        -----
        NeuroVaultWarning
            As `remember`.
        """
        entry = self.receipt(file)
        if entry is not None:
            self.remember(file, replace(entry, file=file, added=time.time()))

    def _entry(self, file: ImageFile) -> Entry | None:
        kept = _UNSAVED.get(self.place(file))
        if kept is not None:
            return kept
        return Entry.read(self.root / receipt_of(file))

    def _verify(self, file: ImageFile, place: Path) -> Entry:
        found = place.stat()
        if isinstance(file, SurfaceFile):
            facts = check_gifti(place, label=file.label)
            return Entry(facts.size, found.st_mtime_ns, facts.sha256)
        facts = check_file(place, label=file.label)
        if not facts.gzipped and not self.read_only and _gzip_in_place(place, found):
            return self._verify(file, place)
        return Entry(facts.size, found.st_mtime_ns, facts.sha256)

    def _identified(
        self, file: ImageFile, verified: Entry, before: Entry | None
    ) -> Entry:
        """Tell which file of the server the verified bytes are."""
        if before is not None and before.sha256 == verified.sha256:
            return replace(before, size=verified.size, mtime_ns=verified.mtime_ns)
        return replace(verified, file=self._recorded(file))

    def _recorded(self, file: ImageFile) -> ImageFile | None:
        try:
            raw = read_image(self.root, file.collection_id, file.image_id)
            image = Image.from_json(raw, base_url=_ANY_SERVER)
            return counterpart(file, image, _ANY_SERVER)
        except (FileNotFoundError, CorruptFileError, AnswerError) as error:
            logger.info("Nothing tells which file %s is: %s", self.place(file), error)
            return None

    def _set_aside(self, place: Path, error: OSError) -> None:
        what = (
            str(error) if isinstance(error, CorruptFileError) else f"{place}: {error}"
        )
        if self.read_only:
            then = "run once without mode='offline' to have it downloaded again"
        elif isinstance(error, CorruptFileError) and (aside := self._quarantine(place)):
            then = f"it was moved to {aside}, fetch the image to download it again"
        else:
            then = (
                "it cannot be moved, pass data_dir= with a folder that can be written"
            )
        msg = f"{what}. The local file {place} is passed over: {then}."
        warnings.warn(msg, NeuroVaultWarning, stacklevel=3)

    def _quarantine(self, place: Path) -> Path | None:
        folder = self.root / layout.OURS / "quarantine" / place.parent.name
        aside = folder / f"{uuid.uuid4().hex}-{place.name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return place.replace(aside)
        except OSError as error:
            logger.warning("%s cannot be moved to %s: %s", place, aside, error)
            return None


def look(place: Path) -> os.stat_result | None:
    """Look at the state of a file.

    Parameters
    ----------
    place : pathlib.Path
        The file.

    Returns
    -------
    os.stat_result or None
        None if there is no file, or it cannot be looked at.

    Examples
    --------
    >>> look(Path("/no/such/file")) is None
    True
    """
    try:
        found = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        logger.warning("%s cannot be looked at: %s", place, error)
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def is_same(one: os.stat_result, other: os.stat_result | None) -> bool:
    """Tell whether a file is still the one that was looked at before.

    Parameters
    ----------
    one, other : os.stat_result or None
        What was found before, and what is found now.

    Returns
    -------
    bool
        Whether number, size and time of last change are the same.

    Examples
    --------
    >>> is_same(Path.cwd().stat(), None)
    False
    """
    return other is not None and stamp_of(one) == stamp_of(other)


def _on_its_way(entry: Entry | None, there: Entry) -> bool:
    # NOTE: a receipt is written right before its file is renamed; see `Store.add`.
    age = time.time() - ((entry and entry.added) or 0.0)
    return entry is not None and entry.sha256 != there.sha256 and 0 <= age < atomic.DAY


def _gzip_in_place(place: Path, plain: os.stat_result) -> bool:
    """Gzip a file that was found plain; True if another is there now, of whomever."""
    # NOTE: nilearn stores a `.nii` under a name that ends in `.nii.gz`, where no
    # tool can open it.
    try:
        with atomic.temporary(place) as part:
            compress_file(place, part)
            # NOTE: what was read may have come meanwhile, and be gzipped already.
            if is_same(plain, look(place)):
                part.replace(place)
    except OSError as error:
        if is_same(plain, look(place)):
            logger.warning("%s cannot be gzipped: %s", place, error)
            return False
    return True
