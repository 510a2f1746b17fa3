"""Everything known about one map: its record, whom to cite, where its file is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from intake_neurovault.coordinates import LICENSE, NEUROVAULT_DOI
from intake_neurovault.hemispheres import Hemisphere
from intake_neurovault.kept import Kept, kept_rows, moment_of
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.schema import (
    COLLECTION_FIELDS,
    COLLECTION_KINDS,
    IMAGE_FIELDS,
)
from intake_neurovault.sheets import Row, Section, sheet_html, sheet_text
from intake_neurovault.strictness import strict
from intake_neurovault.surfaces import FIELDS, SurfaceFile, surfaces_of
from intake_neurovault.transfer import address_of

__all__ = ["LICENCE", "NEUROVAULT_PAPER", "UNITS", "About"]

NEUROVAULT_PAPER = (
    "Gorgolewski et al. (2015), NeuroVault.org: a web-based repository for collecting "
    "and sharing unthresholded statistical maps of the human brain, Frontiers in "
    f"Neuroinformatics 9:8, {NEUROVAULT_DOI}"
)
"""The paper on NeuroVault itself."""

LICENCE = "CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/"
"""Under which all maps of NeuroVault are published."""

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "file_size": "bytes",
        "age": "years",
        "BMI": "kg/m²",
        "fat_percentage": "percent",
        "days_since_menstruation": "days",
        "hours_since_last_meal": "hours",
        "perc_bad_voxels": "percent",
        "brain_coverage": "percent",
        "perc_voxels_outside": "percent",
        "smoothness_fwhm": "mm",
        "length_of_runs": "s",
        "length_of_blocks": "s",
        "subject_age_mean": "years",
        "subject_age_min": "years",
        "subject_age_max": "years",
        "field_strength": "tesla",
        "field_of_view": "mm",
        "slice_thickness": "mm",
        "skip_distance": "mm",
        "echo_time": "ms",
        "flip_angle": "degrees",
        "target_resolution": "mm",
        "smoothing_fwhm": "mm",
        "resampled_voxel_size": "mm",
    }
)
"""The units of core fields that have one."""

_ADDRESSES = ("url", "file", "collection", *FIELDS)
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\S+)", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class About:
    """Everything known about one map, when somebody asked for it.

    It has the fields of the record of the image, so that it can be used as one, and
    shows all the rest when it is printed.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "name": "faces", "age": 31, "run": 2}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> collection = Collection.from_json({"id": 1, "name": "A study"})
    >>> about = About(image, collection, "https://neurovault.org", Kept(None))
    >>> about.id, about.metadata["age"], about.extra
    (3, 31.0, {'run': 2})
    >>> about.text().splitlines()[0]
    'Image 3: faces'
    """

    image: Image
    """Its record."""
    collection: Collection
    """The record of its collection."""
    server: str
    """Where both are from."""
    kept: Kept
    """What the local store had of it."""

    @property
    def id(self) -> int:
        """The number of the image."""
        return self.image.id

    @property
    def collection_id(self) -> int:
        """The number of its collection."""
        return self.image.collection_id

    @property
    def image_type(self) -> str:
        """``statistic_map``, ``NIDM results statistic map`` or ``atlas``."""
        return self.image.image_type

    @property
    def file(self) -> ImageFile | None:
        """Its file on the server, or None when the record names none."""
        return self.image.file

    @property
    def surfaces(self) -> dict[Hemisphere, SurfaceFile]:
        """Its surface files on the server, by hemisphere; empty if it has none."""
        return surfaces_of(self.image, self.server)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """All its fields: null spellings are None, core fields have their types."""
        return self.image.metadata

    @property
    def raw(self) -> Mapping[str, Any]:
        """All its fields as served."""
        return self.image.raw

    @property
    def extra(self) -> dict[str, Any]:
        """The fields outside the core schema that say something."""
        return self.image.extra

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.image.label

    @property
    def discrete(self) -> bool:
        """Whether the values are labels, between which nothing lies."""
        return self.image.discrete

    @property
    def path(self) -> Path | None:
        """The local file, if it is on disk."""
        kept = self.kept
        return None if kept.size is None or kept.foreign else kept.path

    @property
    def private(self) -> bool:
        """Whether only those who know a token are shown it."""
        token = self.collection.token or (self.file and self.file.token)
        return bool(token or self.collection.metadata.get("private"))

    @property
    def citation(self) -> str:
        """What to cite: the paper that the collection names, else the collection."""
        given = self.collection.metadata.get
        doi = _bare_doi(given("DOI")) or _bare_doi(given("preprint_DOI"))
        link = f"https://doi.org/{doi}" if doi else given("paper_url")
        parts = [given("authors"), given("name"), given("journal_name")]
        if not link:
            parts.append(f"NeuroVault collection {self.collection_id}")
            link = self.addresses()["collection"]
        said = [str(part).strip().rstrip(".") for part in parts if part]
        return ". ".join([*said, str(link)])

    def addresses(self) -> dict[str, str]:
        """Give the addresses on the server.

        Returns
        -------
        dict of str to str
            Of the web ``page``, the ``file``, if there is one, the ``left surface``
            and the ``right surface``, if there are any, and the web page of the
            ``collection``; a private collection's token is in none of them.
        """
        about, image = self.collection.metadata, self.metadata
        number, own = self.collection_id, f"{self.server}/images/{self.id}/"
        found = {"page": str(image.get("url") or own)}
        if self.file is not None:
            found["file"] = address_of(self.server, self.file, shown=True)
        for side, surface in self.surfaces.items():
            found[f"{side} surface"] = address_of(self.server, surface, shown=True)
        page = about.get("url") or f"{self.server}/collections/{number}/"
        return {**found, "collection": str(page)}

    def sections(self) -> tuple[Section, ...]:
        """Give what is known, in groups; what is null is left out.

        Returns
        -------
        tuple of Section
            The record, the custom fields, the collection, whom to cite, the
            addresses on the server, and what is on disk.
        """
        title = self.metadata.get("name") or "without a name"
        about = self.collection.metadata
        owner = self.collection.name or "without a name"
        skipped = ("id", "collection_id", "name", *_ADDRESSES)
        core = [field for field in IMAGE_FIELDS if field.name not in skipped]
        of_collection = [f for f in COLLECTION_FIELDS if f.name not in ("id", "name")]
        custom = {n: v for n, v in about.items() if n not in COLLECTION_KINDS}
        parts = (
            Section(f"Image {self.id}: {title}", _rows(core, self.metadata)),
            Section("Custom fields", _custom_rows(self.extra)),
            Section(
                f"Collection {self.collection_id}: {owner}",
                (*_rows(of_collection, about), *_custom_rows(custom)),
            ),
            Section("To cite", tuple(self._cited())),
            Section("On the server", tuple(self._served())),
            Section("On this disk", tuple(kept_rows(self.kept))),
        )
        return tuple(part for part in parts if part.rows)

    def text(self, room: int = 80) -> str:
        """Write all of it as text.

        Parameters
        ----------
        room : int
            Columns of a line; from 120 on, what each field says stands beside it.
            Addresses and paths, which must stay in one piece, may be longer.

        Returns
        -------
        str
            Lines; nothing in them steers a terminal, whatever metadata hold.
        """
        return sheet_text(self.sections(), room)

    def to_json(self) -> dict[str, Any]:
        """Give all of it for machines.

        Returns
        -------
        dict
            JSON types only, nothing null in the records, and no token.
        """
        kept, custom = self.kept, self.extra
        metadata = {n: v for n, v in self.metadata.items() if n not in custom}
        content = {
            "id": self.id,
            "collection_id": self.collection_id,
            "metadata": _given(metadata),
            "custom": custom,
            "collection": _given(self.collection.metadata),
            "citation": self.citation,
            "neurovault_citation": NEUROVAULT_PAPER,
            "license": LICENSE,
            "addresses": self.addresses(),
            "private": self.private,
            "disk": {
                "path": kept.path if kept.size is not None else None,
                "bytes": kept.size,
                "verified": moment_of(kept.verified),
                "sha256": kept.sha256,
                "current": kept.current,
                "grids": [
                    {"path": g.path, "grid": g.grid, "interpolation": g.interpolation}
                    for g in kept.grids
                ],
                "resampled": kept.resampled,
                "words": kept.words,
                "surfaces": {
                    side: {"path": s.path if s.size is not None else None}
                    | {"bytes": s.size, "sha256": s.sha256}
                    for side, s in kept.surfaces.items()
                },
            },
        }
        found: dict[str, Any] = strict(content)
        return found

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return sheet_html(self.sections())

    def _cited(self) -> Iterator[Row]:
        linked = self.collection.doi or self.collection.metadata.get("paper_url")
        yield Row("paper" if linked else "collection", self.citation)
        yield Row("NeuroVault", NEUROVAULT_PAPER)
        yield Row("licence", LICENCE)

    def _served(self) -> Iterator[Row]:
        yield from (Row(name, each) for name, each in self.addresses().items())
        if self.private:
            yield Row("private", "shown only to those who know the collection's token")


def _given(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if value is not None}


def _bare_doi(value: object) -> str | None:
    found = _DOI.search(value) if isinstance(value, str) else None
    return found[1] if found else None


def _rows(fields: Iterable[Any], metadata: Mapping[str, Any]) -> tuple[Row, ...]:
    shown = ((each, metadata.get(each.name)) for each in fields)
    return tuple(
        Row(each.name, _worded(value, UNITS.get(each.name)), each.description)
        for each, value in shown
        if value is not None
    )


def _custom_rows(extra: Mapping[str, Any]) -> tuple[Row, ...]:
    said = _given(extra).items()
    return tuple(
        Row(name, _worded(each)) for name, each in said if each not in ([], {})
    )


def _worded(value: object, unit: str | None = None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        text = f"{value:.12g}" if isinstance(value, float) else str(value)
        return f"{text} {unit}" if unit else text
    return value if isinstance(value, str) else json.dumps(strict(value))
