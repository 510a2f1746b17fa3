"""Copies of maps on nilearn's grid, in nilearn's files.

nilearn's name of such a file tells neither grid nor interpolation. A note of ours
says by which rules it was made, and of which bytes; it is used again only where both
are what is asked for.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake_neurovault import atomic, layout, sidecars
from intake_neurovault.errors import NeuroVaultError, OfflineError, StoreError
from intake_neurovault.grid import GRIDS, Grid
from intake_neurovault.integrity import NiftiStream
from intake_neurovault.ledger import read_note, warn_once
from intake_neurovault.mirror import Mirror
from intake_neurovault.modes import KEEPING
from intake_neurovault.nifti import Reader, make_image, read_geometry
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.shelf import look
from intake_neurovault.wholeness import check_file

logger = logging.getLogger(__name__)

GRID = GRIDS["mni152-3mm"]
"""The grid of resampled files: nilearn's affine, and one shape."""

STD_AFFINE = GRID.matrix
"""The affine of resampled files: voxels of 3 mm, the first at (-90, -126, -72)."""

_TAG = "intake-neurovault: "
_LEVEL = 3  # higher ones take longer and save next to nothing


@dataclass(frozen=True)
class Note:
    """How one resampled file was made."""

    size: int
    """Bytes of the file."""
    mtime_ns: int
    """Its time of last change, in nanoseconds."""
    content: str
    """Its hexadecimal SHA-256."""
    rules: str
    """Grid, interpolation, and what became of voxels without a value, as JSON."""
    sha256: str | None
    """Hexadecimal SHA-256 of the original; None if others made the file."""
    source: str | None
    """Which file of which server the original was; None if others made the file."""
    made: float
    """When it was made (Unix time)."""

    @classmethod
    def read(cls, path: Path) -> Note | None:
        """Read a note.

        Parameters
        ----------
        path : pathlib.Path
            Its file.

        Returns
        -------
        Note or None
            None if it is absent or no note.

        Examples
        --------
        >>> Note.read(Path("/no/such/note.json")) is None
        True
        """
        content = read_note(path)
        try:
            return None if content is None else cls(**content)
        except TypeError as error:
            logger.warning("Passed over: %s is not a note (%s).", path, error)
            return None

    def confirmed(self, place: Path) -> Note | None:
        """Tell whether a file is the one that was made.

        Parameters
        ----------
        place : pathlib.Path
            The file.

        Returns
        -------
        Note or None
            A note that holds for the file as it is; None if it is not there or
            another. A copy may have another time of last change, so that its content
            decides.
        """
        found = look(place)
        if found is None or found.st_size != self.size:
            return None
        if found.st_mtime_ns == self.mtime_ns:
            return self
        same = hashlib.sha256(place.read_bytes()).hexdigest() == self.content
        return replace(self, mtime_ns=found.st_mtime_ns) if same else None


@dataclass(frozen=True)
class Resampler:
    """Makes and keeps resampled files of some images."""

    mirror: Mirror
    """Where the originals come from."""
    reader: Reader
    """How they are read; on which grid does not matter."""
    images: Mapping[int, Image]
    """The images, by id."""

    def kept(self, file: ImageFile) -> Path | None:
        """Tell where a resampled file is kept, if what is kept will do.

        Parameters
        ----------
        file : ImageFile
            The original.

        Returns
        -------
        pathlib.Path or None
            The resampled file; None when it must be made.
        """
        rules = self._rules(file)
        for place, about in self._places(file):
            before = Note.read(about)
            if before is None or before.rules != rules:
                continue
            note = before.confirmed(place)
            if note is not None and self._is_of(note, file):
                if note != before:
                    self._save(about, note)
                return place
        return None

    def local(
        self,
        file: ImageFile,
        progress: Callable[[int], None] | None = None,
        image: Image | None = None,
    ) -> Path:
        """Give the resampled file, making it if need be.

        Parameters
        ----------
        file : ImageFile
            The original; where it is not in the store, it is not kept.
        progress : callable, optional
            Called with the number of bytes of every piece received.
        image : Image, optional
            The record that names it, if that is at hand.

        Returns
        -------
        pathlib.Path
            A whole file on `GRID`.

        Raises
        ------
        OfflineError, MissingError, PrivateError, ServerError
            If the original is not on disk and cannot be fetched.
        CorruptFileError, GeometryError
            If the original is damaged, or holds no 3-D map.
        StoreError
            If it cannot be written.
        """
        kept = self.kept(file)
        if kept is not None:
            self.mirror.complete(file)
            return kept
        store = self.mirror.store
        if file.sha256 is not None or store.local_path(file) is not None:
            original = self.mirror.local(file, progress, image)
            values = self.mirror.read(file, original, self._read(file))
            return self._keep(file, values, file.sha256 or self._digest(file))
        adopted = self._adopted(file)
        if adopted is not None:
            return adopted
        if self.mirror.offline:
            msg = (
                f"Neither {file.label} nor a copy of it resampled by the same rules is "
                f"in the store {store.root}; run once without mode='offline'."
            )
            raise OfflineError(msg)
        return self._downloaded(file, progress)

    def _downloaded(
        self, file: ImageFile, progress: Callable[[int], None] | None
    ) -> Path:
        aside = self._own(file, ".nii.gz")
        with atomic.store_errors(self.mirror.store.root):
            aside.parent.mkdir(parents=True, exist_ok=True)
            with atomic.temporary(aside) as part:
                receipt = self.mirror.client.download(file, part, progress)
                values = self._read(file)(part)
        place = self._keep(file, values, receipt.sha256)
        self.mirror.store.describe(*self._record(file))
        return place

    def _read(self, file: ImageFile) -> Callable[[Path], NDArray[np.float32]]:
        discrete = self.images[file.image_id].discrete
        reader = replace(self.reader, grid=GRID)
        return partial(reader, discrete=discrete, label=file.label)

    def _rules(self, file: ImageFile) -> str:
        method = self.reader.method(self.images[file.image_id].discrete)
        return _rules_of(replace(self.reader, interpolation=method))

    def _tag(self, file: ImageFile) -> str:
        """Say in a header by which rules it was made, in case the note is lost."""
        rules = json.loads(self._rules(file))
        return f"{_TAG}{rules['interpolation']}, {rules['nan']}, {rules['fill_value']}"

    def _own(self, file: ImageFile, suffix: str) -> Path:
        path = layout.gridded_path(file.collection_id, file.image_id)
        return self.mirror.store.root / f"{path}{suffix}"

    def _places(self, file: ImageFile) -> list[tuple[Path, Path]]:
        """Give where a resampled file may be, each with its note."""
        root = self.mirror.store.root
        shared = root / layout.resampled_path(file.collection_id, file.image_id)
        places = [(shared, self._own(file, "_resampled.json"))]
        # NOTE: nilearn's file is of the image as the tree has it, not as it was frozen.
        ours = file.sha256 is not None and self._digest(file) != file.sha256
        if ours or self.mirror.store.read_only:
            places.append((self._own(file, ".nii"), self._own(file, ".json")))
        return places

    def _is_of(self, note: Note, file: ImageFile) -> bool:
        """Tell whether a note is of the original that is wanted in this mode."""
        if file.sha256 is not None:
            return note.sha256 == file.sha256
        listings = self.mirror.listings
        if self.mirror.store.local_path(file) is not None:
            fresh = self.mirror.kept(file) is not None
            return fresh and note.sha256 == self._digest(file)
        if listings.mode in KEEPING:
            return not _is_elsewhere(note.source, file)
        if listings.mode == "update":
            return note.source == _source(file)
        return listings.is_young(note.made)

    def _digest(self, file: ImageFile) -> str | None:
        entry = self.mirror.store.receipt(file)
        return entry.sha256 if entry else None

    def _adopted(self, file: ImageFile) -> Path | None:
        """Take over a file that nilearn made, where nothing contradicts it."""
        # NOTE: which interpolation it took is not written down; it was the continuous
        # one unless somebody asked for another, which few versions allow.
        plain = Reader(GRID, "continuous")
        place, about = self._places(file)[0]
        unknown = self.mirror.listings.mode in KEEPING and Note.read(about) is None
        if not unknown or self._rules(file) != _rules_of(plain) or not look(place):
            return None
        try:
            facts = check_file(place, label=file.label)
            found = read_geometry(place, label=file.label).grid
            on_lattice = Grid(GRID.affine, found.shape).isclose(found)
            tag = _tag_in(place, file.label)
            if not on_lattice or tag not in ("", self._tag(file)):
                return None
            # NOTE: on the same lattice the nearest voxel is the same voxel.
            cut = Reader(GRID, "nearest")
            values = cut(place, discrete=False, label=file.label)
        except (NeuroVaultError, OSError) as error:
            logger.warning("Passed over: %s. %s", place, error)
            return None
        if found.shape != GRID.shape:
            return self._keep(file, values, None)
        self._save(about, self._note(file, place.stat(), facts.sha256, None))
        return place

    def _keep(
        self, file: ImageFile, values: NDArray[np.float32], sha256: str | None
    ) -> Path:
        store = self.mirror.store
        place, about = self._places(file)[-1]
        image = make_image(
            values,
            GRID.matrix,
            sform_code=2,
            qform_code=0,
            xyzt_units="mm",
            description=self._tag(file),
        )
        data = image.to_bytes()
        if place.suffix == ".gz":
            data = gzip.compress(data, _LEVEL, mtime=0)
            self._create_folder(file)
        with atomic.store_errors(store.root):
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic.temporary(place, data) as part:
                # NOTE: before the file, so that no kill in between leaves one that
                # an older note would describe.
                content = hashlib.sha256(data).hexdigest()
                note = self._note(file, part.stat(), content, sha256)
                store.save_note(about.relative_to(store.root).as_posix(), asdict(note))
                part.replace(place)
        return place

    def _record(self, file: ImageFile) -> tuple[Image, Collection]:
        return self.mirror.listings.record(file, self.images[file.image_id])

    def _create_folder(self, file: ImageFile) -> None:
        folder = self.mirror.store.root / layout.collection_dir(file.collection_id)
        if folder.is_dir():
            return
        _, about = self._record(file)
        record = sidecars.collection_bytes(about.raw, about.id)
        with atomic.store_errors(self.mirror.store.root):
            atomic.create_folder(folder, layout.COLLECTION_METADATA, record)

    def _note(
        self, file: ImageFile, found: os.stat_result, content: str, sha256: str | None
    ) -> Note:
        return Note(
            size=found.st_size,
            mtime_ns=found.st_mtime_ns,
            content=content,
            rules=self._rules(file),
            sha256=sha256,
            source=None if sha256 is None else _source(file),
            made=time.time(),
        )

    def _save(self, about: Path, note: Note) -> None:
        """Keep what was found out of a file, where it can be kept."""
        store = self.mirror.store
        try:
            store.save_note(about.relative_to(store.root).as_posix(), asdict(note))
        except StoreError as error:
            meanwhile = "Until then each process checks the resampled files anew."
            warn_once(store.root, error, meanwhile)


def _tag_in(path: Path, label: str) -> str:
    with path.open("rb", buffering=0) as source:
        block = NiftiStream(source, label).header().block
    # NOTE: the field `descrip` of NIfTI-1; nilearn leaves it empty, or to others.
    text = block[148:228].rstrip(b"\0").decode("latin-1")
    return text if text.startswith(_TAG) else ""


def _rules_of(reader: Reader) -> str:
    rules = {
        "grid": GRID.to_spec(),
        "interpolation": reader.interpolation,
        "nan": reader.nan,
        "fill_value": str(reader.fill_value),
    }
    return json.dumps(rules)


def _is_elsewhere(source: str | None, file: ImageFile) -> bool:
    """Tell whether an original was another server's file of the same number."""
    if source is None:
        return False
    origin, *identity = json.loads(source)
    ours, *wanted = json.loads(_source(file))
    return bool(origin and ours and origin != ours and identity != wanted)


def _source(file: ImageFile) -> str:
    return json.dumps([file.origin, file.path, file.file_size, file.modify_date])
