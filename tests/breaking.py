"""What the tests of faults share: a small archive, a search in a hurry, what to expect.

A case of the fault matrix is what is asked for, what goes wrong, with which of three
things, how often, and what a failure shall do. What it must come to is worked out here
from one small table of the kinds of faults, never from what was observed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

from trees import gzipped

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    NeuroVaultError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.pages import SMALLEST
from intake_neurovault.retry import Kind
from intake_neurovault.testing import Archive, Fault

RETRIES = 1
PAGE = 200
HOLDERS = (1, 2, 3)
"""The collections that hold images: 11, 12, 13; 21, 22, 23; 31, 32, 33."""
IMAGES = {number: [10 * number + n for n in HOLDERS] for number in HOLDERS}
ONE_OF_EACH = [11, 22, 33]

THINGS = ("collections", "images", "collection", "image", "file", "voxels", "words")
"""A list of collections, a list of images, a record of either, a file that is fetched
or computed with, the words of an image."""
LISTS = ("collections", "images")
FILES = ("file", "voxels")
EVERYTHING: Mapping[str, Any] = {
    "image_terms": {},
    "collection_terms": {},
    "max_images": None,
}
QUERIES: Mapping[str, Mapping[str, Any]] = {
    "collections": EVERYTHING,
    "images": {"collection_ids": HOLDERS},
    "collection": {"collection_ids": HOLDERS},
    "image": {"image_ids": ONE_OF_EACH},
    "file": {"image_ids": ONE_OF_EACH},
    "voxels": {"image_ids": ONE_OF_EACH},
    "words": {"image_ids": ONE_OF_EACH, "fetch_neurosynth_words": True},
}
WANTED = {
    thing: ONE_OF_EACH if "image_ids" in query else [*chain(*IMAGES.values())]
    for thing, query in QUERIES.items()
}


def three_pages() -> Archive:
    """Three pages of collections; the first of each page holds three images."""
    archive = Archive()
    fillers = list(range(101, 101 + 2 * PAGE))
    for number in (*HOLDERS, *fillers):
        archive.add_collection(f"collection {number}", id=number)
    for number, image_ids in IMAGES.items():
        for image_id in image_ids:
            archive.add_image(number, gzipped(image_id), id=image_id)
    # NOTE: four hundred records of a hundred nulls each would take most of the time.
    for number in fillers:
        record = archive.collections[number]
        archive.collections[number] = {k: v for k, v in record.items() if v is not None}
    archive.order[:] = fillers
    for place, number in enumerate(HOLDERS):
        archive.order.insert(PAGE * place, number)
    return archive


def hurried(result: SearchResult, **changes: Any) -> SearchResult:
    """Let a search not sleep between attempts, for which there is no argument."""
    mirror = result.vault.mirror
    client = replace(mirror.client, backoff=0.001, **changes)
    listings = replace(mirror.listings, client=client)
    result.vault = replace(result.vault, mirror=replace(mirror, listings=listings))
    return result


def quick_search(url: str, **arguments: Any) -> SearchResult:
    """Search through the public door, coarsely and in a hurry."""
    settings = {"retries": RETRIES, "workers": 4, "grid": 20, "progress": False}
    return hurried(search(**(settings | {"url": url} | arguments)))


@dataclass(frozen=True)
class Trouble:
    """What a kind of fault comes to when it stays."""

    error: type[NeuroVaultError]
    """What is raised."""
    text: str
    """Part of what it says."""
    helps: Kind
    """What may help, as the module of retries has it."""
    requests: int = RETRIES + 1
    """How many are spent on one address before it is given up."""
    attempts: int = RETRIES + 1
    """How often it is tried, redirections not counted."""
    passes: bool = True
    """Whether nothing is left of it when it happens once."""


def _refused(status: str, helps: Kind) -> Trouble:
    return Trouble(ServerError, f"answered {status}.", helps)


def _final(error: type[NeuroVaultError], text: str, requests: int = 1) -> Trouble:
    return Trouble(error, text, "final", requests, 1, passes=False)


_NO_JSON = Trouble(AnswerError, "something else where JSON was expected", "passing")
_CUT = Trouble(UnreachableError, "cannot be reached: ", "passing")
_LATE = Trouble(UnreachableError, "gave no answer within ", "slow")
_HALF = Trouble(CorruptFileError, "the file is cut off", "passing")

HARMLESS = ("gzip", "slow")
WAITING = ("silent", "stall")

ANSWERS: Mapping[str, Trouble] = {
    "429": _refused("429 (Too Many Requests)", "passing"),
    "500": _refused("500 (Internal Server Error)", "broken"),
    "502": _refused("502 (Bad Gateway)", "broken"),
    "503": _refused("503 (Service Unavailable)", "passing"),
    "bad_json": _NO_JSON,
    "endless_body": _NO_JSON,
    "html": Trouble(AnswerError, "a web page where JSON was expected", "passing"),
    "poison_row": _refused("500 (Internal Server Error)", "broken"),
    "redirect_away": _final(AnswerError, "redirects to another host"),
    "redirect_loop": replace(
        _final(AnswerError, "redirects endlessly", requests=6), passes=True
    ),
    "reset": _CUT,
    "reset_body": _CUT,
    "short_body": _CUT,
    "silent": _LATE,
    "stall": _LATE,
    "truncated_close": _NO_JSON,
    "wrong_types": _final(AnswerError, "answered JSON that is not "),
}
"""What a fault comes to for an answer in JSON, by its kind."""

CONTENTS: Mapping[str, Trouble] = ANSWERS | {
    "bad_json": _HALF,
    "bit_flip": Trouble(CorruptFileError, "the gzip stream is damaged", "passing"),
    "endless_body": _final(CorruptFileError, "the server sent more than "),
    "html": Trouble(CorruptFileError, "it looks like an HTML", "passing"),
    "truncated_close": _HALF,
    "wrong_size": replace(
        Trouble(CorruptFileError, "where the record says ", "passing"), passes=False
    ),
}
"""What it comes to for a file."""

KINDS = tuple(sorted({*CONTENTS, *HARMLESS}))
ONLY: Mapping[str, tuple[str, ...]] = {
    "bit_flip": FILES,
    "poison_row": ("images", "image"),
    "wrong_size": ("images", "image"),
    "wrong_types": tuple(thing for thing in THINGS if thing not in FILES),
}
"""Kinds that concern some things only; nothing but TLS protects JSON from a bit."""


def makes_sense(thing: str, kind: str, *_rest: object) -> bool:
    """Whether a fault can happen to a thing."""
    return thing in ONLY.get(kind, THINGS)


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    thing: str
    """What the fault concerns, one of `THINGS`."""
    kind: str
    """What goes wrong, one of `KINDS`."""
    place: int
    """With which of the things asked for: 0, 1 or 2."""
    often: str
    """``once`` or ``always``."""
    errors: str
    """What a failure does, as in `search`."""

    def __str__(self) -> str:
        where = ("first", "middle", "last")[self.place]
        return f"{self.thing}-{self.kind}-{where}-{self.often}-{self.errors}"

    @property
    def number(self) -> int:
        """The collection that the fault concerns."""
        return HOLDERS[self.place]

    @property
    def image_id(self) -> int:
        """The image that it concerns, in its collection at the same place."""
        return ONE_OF_EACH[self.place]

    @property
    def match(self) -> str:
        """The addresses that it concerns."""
        number, image = self.number, self.image_id
        listing = r"\?limit=\d+&offset="
        first = r"\d+$" if self.kind in ("poison_row", "wrong_size") else "0$"
        return {
            "collections": rf"^/api/collections/{listing}{PAGE * self.place}$",
            "images": rf"^/api/collections/{number}/images/{listing}{first}",
            "collection": rf"^/api/collections/{number}/$",
            "image": rf"^/api/images/{image}/$",
            "file": rf"^/media/images/{number}/image_{image}\.nii\.gz$",
            "voxels": rf"^/media/images/{number}/image_{image}\.nii\.gz$",
            "words": rf"^/api/decode/\?neurovault={image}$",
        }[self.thing]

    @property
    def fault(self) -> Fault:
        """What the server is told to do."""
        return Fault(
            match=self.match,
            kind=self.kind,  # type: ignore[arg-type]
            times=1 if self.often == "once" else None,
            seconds={"slow": 0.02, "silent": 2.0, "stall": 2.0}.get(self.kind),
            image_id=self.image_id if self.kind == "poison_row" else None,
            location="http://127.0.0.1:9/elsewhere/",
        )

    @property
    def timeout(self) -> float:
        """Seconds after which the search gives a request up."""
        if self.kind not in WAITING:
            return 20.0
        # NOTE: whatever else is asked for must come in time on a busy machine too.
        return 0.6 if self.often == "once" else 0.25

    @cached_property
    def trouble(self) -> Trouble | None:
        """What is left after all attempts; None for nothing."""
        of_file = self.thing in FILES or self.kind == "wrong_size"
        found = (CONTENTS if of_file else ANSWERS).get(self.kind)
        if found is None or (found.passes and self.often == "once"):
            return None
        if self.thing == "words" and self.kind == "wrong_types":
            return replace(found, text="holds no words")
        return found

    @property
    def splits(self) -> bool:
        """Whether a page is taken apart until one record is left that cannot be had."""
        broken = self.trouble is not None and self.trouble.helps == "broken"
        return broken and self.thing in LISTS

    @property
    def ends(self) -> bool:
        """Whether an error comes out, whatever a failure shall do otherwise."""
        if self.trouble is None or self.thing == "words":
            return False
        return self.errors == "raise"

    @property
    def error(self) -> type[NeuroVaultError]:
        """The class of the error that comes out."""
        assert self.trouble is not None
        partly = self.thing == "collections" and self.place > 0
        return ServerError if partly or self.splits else self.trouble.error

    @property
    def requests(self) -> int:
        """How often the addresses that the fault concerns are asked for."""
        if self.trouble is None:
            passed = self.kind in HARMLESS or self.often == "always"
            # NOTE: what was halved after a timeout is another page at the same place.
            return 1 if passed else 2
        limits = [PAGE]
        # NOTE: a timeout is worth another page, down to the smallest, but no patience.
        if self.thing in LISTS and self.trouble.helps == "slow":
            while limits[-1] > SMALLEST:
                limits.append(limits[-1] // 2)
            return len(limits[:-1]) + self.trouble.requests
        while self.splits and limits[-1] > 1:
            limits.append(limits[-1] // 2)
        return len(limits) * self.trouble.requests

    @property
    def unlisted(self) -> list[int]:
        """The images that the search does not find."""
        if self.trouble is None or self.kind == "wrong_size":
            return []
        later = HOLDERS[self.place + 1 :] if not self.splits else ()
        whole = IMAGES[self.number]
        return {
            "collections": [*whole, *chain(*(IMAGES[each] for each in later))],
            "images": [self.spoilt] if self.splits else whole,
            "collection": whole,
            "image": [self.image_id],
        }.get(self.thing, [])

    @property
    def spoilt(self) -> int:
        """The image whose record cannot be served."""
        poisoned = self.kind == "poison_row"
        return self.image_id if poisoned else IMAGES[self.number][0]

    @property
    def unfetched(self) -> list[int]:
        """The images that the search finds, but whose files cannot be had."""
        if self.trouble is None:
            return []
        if self.kind == "wrong_size" and self.thing == "images":
            return IMAGES[self.number]
        concerned = self.thing in FILES or self.kind == "wrong_size"
        return [self.image_id] if concerned else []

    @property
    def unweighed(self) -> list[int]:
        """The images whose words cannot be had."""
        return [self.image_id] if self.thing == "words" and self.trouble else []

    def rows(self, url: str) -> list[tuple[int | None, int | None, str]]:
        """The failures in the table: image, collection, and what was asked."""
        if self.trouble is None or self.thing == "voxels":
            return []
        number, image = self.number, self.image_id
        listing = f"{url}/api/collections/{number}/images/"
        offset = IMAGES[number].index(self.spoilt)
        if self.kind == "wrong_size" or self.thing == "file":
            media = f"{url}/media/images"
            return [
                (each, each // 10, f"{media}/{each // 10}/image_{each}.nii.gz")
                for each in self.unfetched
            ]
        place = {
            "collections": f"{url}/api/collections/",
            "images": listing,
            "collection": f"{url}/api/collections/{number}/",
            "image": f"{url}/api/images/{image}/",
            "words": f"{url}/api/decode/?neurovault={image}",
        }[self.thing]
        if self.splits:
            offset = PAGE * self.place if self.thing == "collections" else offset
            place = f"{place}?limit=1&offset={offset}"
        whose = {
            "collections": (None, None),
            "images": (None, number),
            "collection": (None, number),
            "image": (image, None),
            "words": (image, number),
        }[self.thing]
        return [(*whose, place)]

    @property
    def sentence(self) -> str:
        """A pattern for what the report and the error say."""
        assert self.trouble is not None
        about = {
            "collections": "The list of collections: ",
            "images": f"Collection {self.number}, list of images: ",
            "collection": f"Collection {self.number}: ",
            "image": f"Image {self.image_id}: ",
            "words": rf"(No words of image {self.image_id} |Neurosynth's answer )",
        }.get(self.thing, "")
        # NOTE: advice follows, in the same sentence.
        what = self.trouble.text.rstrip("." if self.thing == "words" else "")
        if self.unfetched:
            about = rf"Image \d+ \(collection {self.number}\): "
        unread = self.thing == "collections" and self.place > 0 and not self.splits
        end = r" The list was read no further\.$" if unread else ""
        return f"^{about}.*{re.escape(what)}.*{end}"
