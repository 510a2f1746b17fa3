"""Random questions to fetchers of NeuroVault, and what they mean.

A question knows how it is put to nilearn and to this package, with the filter
classes of either, and tells by itself which records it is about. Its own idea of
each condition is written out here once more, in `MEANINGS`.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

Meta = Mapping[str, Any]


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def holds(value: Any, bound: Any) -> bool:
        numbers = isinstance(bound, int | float) and isinstance(value, int | float)
        texts = isinstance(bound, str) and isinstance(value, str)
        return (numbers or texts) and compare(value, bound)

    return holds


def _inside(value: Any, *parts: str) -> bool:
    return isinstance(value, str) and all(part in value for part in parts)


def _outside(value: Any, *parts: str) -> bool:
    return isinstance(value, str) and not any(part in value for part in parts)


MEANINGS: Mapping[str, Callable[..., bool]] = {
    "": _same,
    "IsNull": lambda value: not value,
    "NotNull": bool,
    "NotEqual": lambda value, other: not _same(value, other),
    "GreaterThan": _ordered(lambda value, bound: value > bound),
    "GreaterOrEqual": _ordered(lambda value, bound: value >= bound),
    "LessThan": _ordered(lambda value, bound: value < bound),
    "LessOrEqual": _ordered(lambda value, bound: value <= bound),
    "IsIn": lambda value, *some: any(_same(value, each) for each in some),
    "NotIn": lambda value, *some: not any(_same(value, each) for each in some),
    "Contains": _inside,
    "NotContains": _outside,
    "Pattern": lambda value, pattern: (
        isinstance(value, str) and re.match(pattern, value) is not None
    ),
}
"""What each of nilearn's special values means; the empty name is the value itself."""


@dataclass(frozen=True)
class Term:
    """What one field has to be: a value, or one of nilearn's special values."""

    name: str
    args: tuple[Any, ...]

    def build(self, classes: Any) -> Any:
        """Make it with nilearn's classes, or ours."""
        return getattr(classes, self.name)(*self.args) if self.name else self.args[0]

    def holds(self, value: Any) -> bool:
        """Whether a value is meant."""
        return MEANINGS[self.name](value, *self.args)


def is_(value: Any) -> Term:
    """The value itself."""
    return Term("", (value,))


def special(name: str, *args: Any) -> Term:
    """One of nilearn's special values."""
    return Term(name, args)


@dataclass(frozen=True)
class Terms:
    """A filter: all of these terms have to hold."""

    terms: Mapping[str, Term]

    def build(self, classes: Any) -> Any:
        """Make it with nilearn's classes, or ours."""
        return classes.ResultFilter(built(self.terms, classes))

    def holds(self, meta: Meta) -> bool:
        """Whether a record is meant."""
        return all(term.holds(meta.get(key)) for key, term in self.terms.items())


@dataclass(frozen=True)
class Combined:
    """A filter made of others: AND, OR, XOR, or NOT of one."""

    how: str
    parts: tuple[Any, ...]

    def build(self, classes: Any) -> Any:
        """Make it with nilearn's classes, or ours."""
        first, *others = (part.build(classes) for part in self.parts)
        return getattr(first, self.how)(*others)

    def holds(self, meta: Meta) -> bool:
        """Whether a record is meant."""
        first, *others = (part.holds(meta) for part in self.parts)
        if self.how == "NOT":
            return not first
        table = {
            "AND": lambda a, b: a and b,
            "OR": lambda a, b: a or b,
            "XOR": lambda a, b: a != b,
        }
        return reduce(table[self.how], others, first)


def many_subjects(meta: Meta) -> bool:
    """A condition in Python, as users write them."""
    return (meta.get("number_of_subjects") or 0) > 12


def has_a_long_name(meta: Meta) -> bool:
    """A condition that makes sense for images and for collections."""
    return len(meta["name"]) > 14


@dataclass(frozen=True)
class Function:
    """A filter that is a function of the user's."""

    function: Callable[[Meta], bool]

    def build(self, _: Any) -> Any:
        """Give the function."""
        return self.function

    def holds(self, meta: Meta) -> bool:
        """Whether a record is meant."""
        return self.function(meta)


Filter = Terms | Combined | Function

BASIC_COLLECTION_TERMS = {"number_of_images": special("NotNull")}
BASIC_IMAGE_TERMS = {
    "not_mni": is_(False),
    "is_thresholded": is_(False),
    "map_type": special("NotIn", "ROI/mask", "anatomical", "parcellation"),
    "image_type": special("NotEqual", "atlas"),
}
"""What holds where no terms are given."""


def built(terms: Mapping[str, Term], classes: Any) -> dict[str, Any]:
    """Make the terms of one argument."""
    return {key: term.build(classes) for key, term in terms.items()}


@dataclass(frozen=True)
class Question:
    """One call of ``fetch_neurovault``, or of ``fetch_neurovault_ids``."""

    by_ids: bool = False
    image_terms: Mapping[str, Term] | None = None
    collection_terms: Mapping[str, Term] | None = None
    keywords: Mapping[str, Term] = field(default_factory=dict)
    image_filter: Filter | None = None
    collection_filter: Filter | None = None
    max_images: Any = None
    image_ids: Any = ()
    collection_ids: Any = ()
    mode: str = "download_new"
    resample: bool = False
    interpolation: str = "continuous"
    words: bool = False

    def arguments(self, classes: Any) -> dict[str, Any]:
        """Write it down as keyword arguments; defaults are left out."""
        given: dict[str, Any] = {"mode": self.mode}
        if self.resample:
            given["resample"] = True
        if self.words:
            given["fetch_neurosynth_words"] = True
        if self.by_ids:
            some = {"image_ids": self.image_ids, "collection_ids": self.collection_ids}
            return given | {key: ids for key, ids in some.items() if ids != ()}
        if self.interpolation != "continuous":
            given["interpolation"] = self.interpolation
        for key in ("image_terms", "collection_terms"):
            terms = getattr(self, key)
            if terms is not None:
                given[key] = built(terms, classes)
        for key in ("image_filter", "collection_filter"):
            condition = getattr(self, key)
            if condition is not None:
                given[key] = condition.build(classes)
        if self.collection_ids != ():
            given["collection_ids"] = self.collection_ids
        given["max_images"] = self.max_images
        return given | built(self.keywords, classes)

    @property
    def cap(self) -> float:
        """How many images at most."""
        unlimited = self.by_ids or self.max_images is None or self.max_images < 0
        return math.inf if unlimited else self.max_images

    @property
    def all_image_terms(self) -> dict[str, Term]:
        """The terms of images, the default ones included."""
        given = self.image_terms
        return {**(BASIC_IMAGE_TERMS if given is None else given), **self.keywords}

    @property
    def all_collection_terms(self) -> dict[str, Term]:
        """The terms of collections, the default ones included."""
        given = self.collection_terms
        return dict(BASIC_COLLECTION_TERMS if given is None else given)


# ---- the generator --------------------------------------------------------------

IMAGE_TERMS: Mapping[str, tuple[Term, ...]] = {
    "map_type": (
        is_("Z map"),
        special("IsIn", "Z map", "T map"),
        special("NotIn", "ROI/mask"),
        special("NotEqual", "T map"),
        special("Pattern", "[TZ] map$"),
    ),
    "number_of_subjects": (
        is_(20),
        special("GreaterThan", 15),
        special("LessOrEqual", 20),
        special("NotNull"),
        special("IsNull"),
    ),
    "age": (
        special("GreaterThan", 25),
        special("LessOrEqual", 25),
        special("GreaterOrEqual", 25.5),
        special("LessThan", 30.25),
    ),
    "task": (
        is_("faces"),
        is_(None),
        special("IsNull"),
        special("NotNull"),
        special("NotEqual", "faces"),
        special("IsIn", "faces", None),
    ),
    "name": (
        special("Contains", "face"),
        special("Contains", "face", "house"),
        special("NotContains", "tapping"),
        special("Pattern", ".*(map|houses)"),
    ),
    "scanned": (
        special("GreaterThan", "2016-01-01"),
        special("LessThan", "2016-01-01"),
        special("NotNull"),
    ),
    "is_thresholded": (is_(False), special("IsIn", False, None)),
    "not_mni": (is_(False), special("NotEqual", True)),
    "absolute_pitch": (is_(1), special("NotNull"), special("IsNull")),
    "repeated": (is_(1), is_(True)),
    "image_type": (special("NotEqual", "atlas"), is_("atlas")),
    "no_such_field": (special("IsNull"),),
}
COLLECTION_TERMS: Mapping[str, tuple[Term, ...]] = {
    "id": (*map(is_, (1, 2, 3, 5)), special("IsIn", 1, 4), special("NotIn", 2)),
    "DOI": (is_("10.5555/a"), special("NotNull"), special("IsNull")),
    "owner": (is_(7), is_(8), special("IsIn", 7, 9)),
    "name": (
        is_("Faces and houses"),
        is_("Finger tapping"),
        special("Pattern", "F"),
        special("Contains", "and"),
    ),
    "number_of_images": (special("NotNull"), special("GreaterThan", 4)),
    "journal_name": (special("NotNull"), special("IsNull")),
}
FUNCTIONS = (Function(many_subjects), Function(has_a_long_name))


def _some(
    draw: random.Random, choices: Mapping[str, tuple[Term, ...]], most: int
) -> dict[str, Term]:
    fields = draw.sample(sorted(choices), draw.randint(1, most))
    return {name: draw.choice(choices[name]) for name in fields}


def _filter(
    draw: random.Random, choices: Mapping[str, tuple[Term, ...]], depth: int = 2
) -> Filter:
    how = draw.choice(("AND", "OR", "XOR", "NOT", "terms", "terms", "function"))
    if how == "function" and depth < 2:
        how = "terms"  # a plain function has no AND
    if how == "function":
        return FUNCTIONS[choices is COLLECTION_TERMS]
    if depth == 0 or how == "terms":
        return Terms(_some(draw, choices, 2))
    count = 1 if how == "NOT" else 2
    return Combined(how, tuple(_filter(draw, choices, depth - 1) for _ in range(count)))


def _mode(draw: random.Random) -> str:
    return draw.choice(("download_new",) * 6 + ("offline",) * 2 + ("overwrite",))


def _limit(draw: random.Random) -> Any:
    return draw.choice((None, None, -1, 1, 2, 3, 5, 100, math.inf, 0))


def filtered(draw: random.Random) -> Question:
    """Ask by terms and filters."""
    image_terms = draw.choice((None, {}, {}, _some(draw, IMAGE_TERMS, 2)))
    collection_terms = draw.choice((None, {}, {}, _some(draw, COLLECTION_TERMS, 2)))
    home = {"collection_id": is_(draw.randint(1, 4))}
    keywords = draw.choice(({}, {}, _some(draw, IMAGE_TERMS, 1), home))
    one_in_four = [draw.random() < 0.25 for _ in range(3)]
    return Question(
        image_terms=image_terms,
        collection_terms=collection_terms,
        keywords=keywords,
        image_filter=_filter(draw, IMAGE_TERMS) if one_in_four[0] else None,
        collection_filter=_filter(draw, COLLECTION_TERMS) if one_in_four[1] else None,
        max_images=_limit(draw),
        mode=_mode(draw),
        words=one_in_four[2],
    )


def by_ids(draw: random.Random, images: list[int], collections: list[int]) -> Question:
    """Ask for images and collections by their ids, however they are written."""
    write = draw.choice((int, int, int, str, float))
    some = draw.sample(images, draw.randint(0, 4))
    homes = draw.sample(collections, draw.randint(not some, 2))
    write_home = int if write is float else write
    return Question(
        by_ids=True,
        image_ids=[write(each) for each in some],
        collection_ids=[write_home(each) for each in homes],
        mode=_mode(draw),
        words=draw.random() < 0.2,
    )


def resampled(draw: random.Random, images: list[int]) -> Question:
    """Ask for a few maps on nilearn's grid of 3 mm, or for the same as they are."""
    resample = draw.random() < 0.75
    common = {"mode": _mode(draw), "resample": resample}
    some = draw.sample(images, draw.randint(1, 2))
    if draw.random() < 0.5:
        return Question(by_ids=True, image_ids=some, **common)
    return Question(
        image_terms={"id": special("IsIn", *some)},
        collection_terms={"id": is_(1)},
        interpolation=draw.choice(("continuous", "linear", "nearest")),
        **common,
    )


def odd(draw: random.Random, images: list[int]) -> Question:
    """Ask in a way that nilearn misunderstands."""
    one = draw.choice(images)
    number = draw.randint(1, 4)
    elsewhere = {"id": is_(number), "DOI": is_("10.5555/d")}
    own_types = {**BASIC_IMAGE_TERMS, "map_type": is_("Z map")}
    return draw.choice(
        (
            Question(by_ids=True, image_ids=one),
            Question(by_ids=True, image_ids=str(one)),
            Question(by_ids=True, image_ids=[one, 999_999]),
            Question(collection_ids=[1], image_terms={"id": is_(one)}, max_images=1),
            Question(collection_terms=elsewhere, image_terms={}, mode=_mode(draw)),
            Question(collection_terms={"DOI": is_("10.5555/b")}, image_terms={}),
            Question(image_terms=own_types, image_filter=FUNCTIONS[0], max_images=3),
        )
    )
