"""What nilearn 0.14 answers, its bugs included, and what the right answer is.

Both are worked out from the archive that a server holds, without asking anybody.
Each of nilearn's bugs is one switch of `Nilearn`: with all of them off it is right,
and a bug is to blame for an answer if its switch makes a difference to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nilearn.datasets import neurovault
from questions import Filter, Function, Meta, Question, Term

BUGS = {
    "B04": "one image on disk hides the others of its collection",
    "B05": "ids given as text are not found on disk, nor seen to come twice",
    "B06": "one id is taken for several, and a float for none",
    "B09": "an id switches the terms off that the server knows",
    "B10": "terms that the server knows are not checked",
    "B11": "text that begins like a null spelling is taken for one",
    "B30": "special values compare wrongly with None, bool and float",
    "B32": 'fields with "absolute" in their name are lost on disk',
    "C12": "null spellings count online, and do not on disk",
}
"""The switches. The other differences follow from what is on disk, or are told by
`blame`: they are listed in ``DIFFERENCES`` of the test."""
ALL = frozenset(BUGS)
NONE: frozenset[str] = frozenset()

NULLS = {"", "none", "none / other", "n/a", "na", "null"}
ON_SERVER = ("DOI", "name", "owner")


def cleaned(meta: Meta) -> dict[str, Any]:
    """A record in which null spellings, and nothing else, have become None."""
    return {
        key: None if isinstance(v, str) and v.strip().lower() in NULLS else v
        for key, v in meta.items()
    }


def prefix_cleaned(meta: Meta) -> dict[str, Any]:
    """A record as nilearn cleans it: a null spelling at the beginning will do."""
    null = re.compile("$|n/?a$|none|null", re.IGNORECASE)
    return {
        key: None if isinstance(value, str) and null.match(value) else value
        for key, value in meta.items()
    }


@dataclass
class Kept:
    """What a store has of one image."""

    original: bool = False
    resampled: str | None = None
    """How the map on the grid of 3 mm was interpolated."""
    words: bool = False

    def serves(self, question: Question) -> bool:
        """Whether this will do, whoever asks and however it was interpolated."""
        return self.original or (question.resample and self.resampled is not None)


@dataclass(frozen=True)
class Answer:
    """Which images come back."""

    ids: tuple[int, ...] = ()
    some_of: frozenset[int] = NONE  # type: ignore[assignment]
    """If not empty: so many images as there are in `ids` come from among these."""
    on_disk: frozenset[int] = NONE  # type: ignore[assignment]
    """Those of the images that are read from disk."""
    fails: bool = False
    """Whether there is an exception instead."""


@dataclass
class Records:
    """The records of an archive as the server answers them."""

    images: dict[int, Meta]
    collections: dict[int, Meta]
    honoured: bool
    """Whether the server filters the list of collections when asked to."""

    def home(self, image_id: int) -> int:
        """The collection of an image."""
        return self.images[image_id]["collection_id"]


@dataclass
class Right:
    """The right answer, and what the store then has."""

    records: Records
    kept: dict[int, Kept] = field(default_factory=dict)

    def answer(self, question: Question) -> Answer:
        """Say which images are to come, in which order."""
        wanted = self._asked(question) if question.by_ids else self._matching(question)
        if not question.by_ids and question.collection_ids != ():
            return Answer(fails=True)
        if question.mode == "offline":
            wanted = [each for each in wanted if self._is_here(each, question)]
        if question.cap < math.inf:
            wanted = wanted[: int(question.cap)]
        return Answer(tuple(wanted))

    def _is_here(self, image_id: int, question: Question) -> bool:
        kept = self.kept.get(image_id, Kept())
        fits = question.resample and kept.resampled == question.interpolation
        return kept.original or fits

    def _asked(self, question: Question) -> list[int]:
        images = self.records.images
        homes = numbers(question.collection_ids)
        inside = [
            each
            for home in homes
            for each in sorted(images)
            if self.records.home(each) == home
        ]
        known = [each for each in numbers(question.image_ids) if each in images]
        return list(dict.fromkeys([*known, *inside]))

    def _matching(self, question: Question) -> list[int]:
        images, homes = self.records.images, self.records.collections
        terms = question.all_image_terms
        home_terms = question.all_collection_terms
        good = {
            home
            for home, meta in homes.items()
            if fits(cleaned(meta), home_terms, question.collection_filter, NONE)
        }
        return sorted(
            (
                number
                for number, meta in images.items()
                if self.records.home(number) in good
                and fits(cleaned(meta), terms, question.image_filter, NONE)
            ),
            key=lambda number: (self.records.home(number), number),
        )


@dataclass
class Nilearn:
    """nilearn's answer: first what is on disk, then what the server adds."""

    records: Records
    kept: dict[int, Kept] = field(default_factory=dict)

    def answer(self, question: Question) -> Answer:
        """Say which images come back."""
        if isinstance(question.image_ids, int):
            return Answer(fails=True)
        if not question.by_ids and question.collection_ids != ():
            question = Question(by_ids=True, collection_ids=question.collection_ids)
        here, there = self.members(question, ALL)
        if question.cap == 0:
            return Answer()
        if len(here) >= question.cap:
            number = int(question.cap)
            uncertain = frozenset(here) if len(here) > number else NONE
            return Answer(tuple(here[:number]), uncertain, frozenset(here))
        if question.cap < math.inf:
            there = there[: int(question.cap) - len(here)]
        return Answer((*here, *there), on_disk=frozenset(here))

    def members(
        self, question: Question, bugs: frozenset[str]
    ) -> tuple[list[int], list[int]]:
        """Give the images that match: those on disk, and those it then asks for."""
        find = self._by_ids if question.by_ids else self._by_terms
        return find(question, bugs)

    def _by_ids(
        self, question: Question, bugs: frozenset[str]
    ) -> tuple[list[int], list[int]]:
        home = self.records.home
        given = question.image_ids, question.collection_ids
        single = "B06" in bugs and isinstance(question.image_ids, str)
        wanted, wanted_homes = (
            [int(c) for c in question.image_ids] if single else numbers(given[0]),
            numbers(given[1]),
        )
        textual = any(isinstance(each, str) for some in given for each in some)
        blind = question.mode == "overwrite" or (textual and "B05" in bugs)
        here = [
            number
            for number, kept in self.kept.items()
            if not blind
            and kept.serves(question)
            and (number in wanted or home(number) in wanted_homes)
        ]
        if question.mode == "offline":
            return here, []
        hidden = {home(each) for each in here} if "B04" in bugs else set()
        there = [
            number
            for number in sorted(self.records.images)
            if home(number) in set(wanted_homes) - hidden and number not in here
        ]
        floats = any(isinstance(each, float) for each in given[0])
        if not (floats and "B06" in bugs):
            twice = set(there) if not (textual and "B05" in bugs) else set()
            known = [each for each in wanted if each in self.records.images]
            there += [each for each in known if each not in twice]
        return here, [each for each in there if each not in here]

    def _by_terms(
        self, question: Question, bugs: frozenset[str]
    ) -> tuple[list[int], list[int]]:
        terms, home_terms = moved(question)
        clean = prefix_cleaned if "B11" in bugs else cleaned

        def on_disk(meta: Meta) -> dict[str, Any]:
            shown = clean(meta)
            lost = "absolute" if "B32" in bugs else None
            return {k: v for k, v in shown.items() if lost is None or lost not in k}

        def fits_image(meta: Meta) -> bool:
            return fits(meta, terms, question.image_filter, bugs)

        records, images = self.records, self.records.images
        here = []
        if question.mode != "overwrite":
            good = {
                home
                for home, meta in records.collections.items()
                if fits(on_disk(meta), home_terms, question.collection_filter, bugs)
            }
            here = [
                number
                for number, kept in self.kept.items()
                if kept.serves(question)
                and records.home(number) in good
                and fits_image(on_disk(images[number]))
            ]
        if question.mode == "offline":
            return here, []
        online = dict if "C12" in bugs else clean
        hidden = {records.home(each) for each in here} if "B04" in bugs else set()
        there = [
            number
            for home in self._listed(question, home_terms, online, bugs)
            if home not in hidden
            for number in sorted(images)
            if records.home(number) == home
            and number not in here
            and fits_image(online(images[number]))
        ]
        return here, there

    def _listed(
        self,
        question: Question,
        terms: Mapping[str, Term],
        online: Callable[[Meta], dict[str, Any]],
        bugs: frozenset[str],
    ) -> Iterable[int]:
        """The collections that the server lists and that pass what is left then."""
        sent = {
            key: term
            for key, term in terms.items()
            if key in (*ON_SERVER, "id") and not term.name
        }
        left = {key: term for key, term in terms.items() if key not in sent}
        direct = sent.pop("id", None)
        trusted = ("B09" if direct else "B10") in bugs
        for home, meta in sorted(self.records.collections.items()):
            if direct and not direct.holds(home):
                continue
            checked = not trusted or (self.records.honoured and not direct)
            if checked and not fits(online(meta), sent, None, NONE):
                continue
            if fits(online(meta), left, question.collection_filter, bugs):
                yield home

    def metadata(self, answer: Answer, image_id: int) -> dict[str, Any]:
        """Give the metadata that it returns for an image."""
        shown = prefix_cleaned(self.records.images[image_id])
        if image_id in answer.on_disk:
            shown = {k: v for k, v in shown.items() if "absolute" not in k}
        return shown

    def blame(self, question: Question) -> set[str]:
        """Say which bugs add images to an answer without a limit, or remove some."""

        def of(bugs: frozenset[str]) -> list[int]:
            here, there = self.members(question, bugs)
            return sorted([*here, *there])

        with_all, with_none = of(ALL), of(NONE)
        guilty = {
            bug
            for bug in BUGS
            if of(ALL - {bug}) != with_all or of(frozenset({bug})) != with_none
        }
        if "B04" in guilty and not question.resample:
            hidden = (set(with_none) - set(with_all)) & set(self.kept)
            guilty |= {"B40" for each in hidden if self.kept[each].resampled}
        return guilty


def numbers(given: Any) -> list[int]:
    """Read ids as they are meant."""
    some = [given] if isinstance(given, int | str) else given
    return [int(each) for each in some]


def moved(question: Question) -> tuple[dict[str, Term], dict[str, Term]]:
    """Make the collection of the images a term of the collections, where it fits."""
    terms, home_terms = question.all_image_terms, question.all_collection_terms
    if "collection_id" in terms:
        wanted = terms["collection_id"]
        if "id" not in home_terms or home_terms["id"].holds(wanted.args[0]):
            home_terms["id"] = terms.pop("collection_id")
    return terms, home_terms


def fits(
    meta: Meta,
    terms: Mapping[str, Term],
    condition: Filter | None,
    bugs: frozenset[str],
) -> bool:
    """Whether a record has what is asked for, by nilearn's comparisons or right."""
    if "B30" not in bugs:
        good = all(term.holds(meta.get(key)) for key, term in terms.items())
        return good and (condition is None or condition.holds(meta))
    # NOTE: nilearn's classes know best what they do; those who are right do not.
    good = all(term.build(neurovault) == meta.get(key) for key, term in terms.items())
    if condition is None or isinstance(condition, Function):
        return good and (condition is None or condition.holds(meta))
    return good and condition.build(neurovault)(meta)
