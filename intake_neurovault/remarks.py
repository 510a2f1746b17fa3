"""What is suspicious about a map, in short sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan

from intake_neurovault.records import is_discrete

__all__ = ["NOT_HAD", "remarks_on"]

NOT_HAD = "The map could not be had; see .failures."
"""What is said of a map that could not be read."""

_LEAST_COVERAGE = 0.4
_LARGEST, _SMALLEST = 50.0, 1.96
_MOST_LABELS = 0.5
_HALF, _MOST, _FIFTH = 0.5, 0.9, 0.2
_ROUNDING, _LEAST_SHOWN = 1e-6, 0.01

_TWO_SIDED = frozenset({"t map", "z map"})
_PROBABILITIES = frozenset(
    {"p map (given null hypothesis)", '1-p map ("inverted" probability)'}
)
_ANATOMY = frozenset({"anatomical"})
_NEVER_NEGATIVE = frozenset({"f map", "chi squared map", "variance"})


def remarks_on(
    numbers: Mapping[str, float], map_type: str | None, image_type: str = ""
) -> str:
    """Say what is suspicious about a map.

    Parameters
    ----------
    numbers : mapping of str to float
        What :func:`intake_neurovault.measures.measure` found, by name.
    map_type : str or None
        The statistic, as the record names it.
    image_type : str
        The type of the image.

    Returns
    -------
    str
        Sentences, each about one thing; empty if there is nothing to say.

    Notes
    -----
    The rules are those of others who had to select maps of NeuroVault:

    - Peraza et al. 2025 (doi:10.1038/s41598-025-20328-8) leave out maps with a
      coverage of the brain below 40 %, and T and Z maps that reach beyond ±50, stay
      within ±1.96, or are of one sign.
    - NeuroVault itself (``statmaps/utils.py`` of its source) takes a map not to be in
      MNI space if none of the brain is covered; if half of it or less is, and more
      than half of the values are outside; or if less than 90 % is, and more than 20 %
      are. It takes a map of one value for a mask, and one of whole numbers for a
      parcellation; here more than half of the values have to be whole, since those
      between two labels are not when labels were interpolated.
    - A probability is between 0 and 1; F, chi squared and variance are not negative.

    Examples
    --------
    >>> numbers = dict.fromkeys(("zeros", "nan", "whole"), 0.0)
    >>> numbers |= {"minimum": 0.0, "maximum": 1.0, "std": 0.3, "positive": 1.0}
    >>> numbers |= {"outside": 0.0, "coverage": 0.9}
    >>> remarks_on(numbers, "Z map")
    'All values are between 0 and 1: a map of p values rather than a Z map.'
    >>> remarks_on(numbers, "P map (given null hypothesis)")
    ''
    """
    empty = _empty(numbers)
    if empty:
        return empty
    here = _Map(numbers, map_type or "", is_discrete(image_type, map_type))
    return " ".join(filter(None, (rule(here) for rule in _RULES)))


@dataclass(frozen=True)
class _Map:
    """A map with values, and what its record says that it is."""

    numbers: Mapping[str, float]
    kind: str
    discrete: bool

    def is_one_of(self, kinds: frozenset[str]) -> bool:
        return self.kind.lower() in kinds

    @property
    def extremes(self) -> tuple[float, float]:
        return self.numbers["minimum"], self.numbers["maximum"]

    @property
    def largest(self) -> float:
        return max(map(abs, self.extremes))

    @property
    def may_be_probability(self) -> bool:
        least, most = self.extremes
        return least >= -_ROUNDING and most <= 1 + _ROUNDING


def _empty(numbers: Mapping[str, float]) -> str:
    zeros, nan = numbers["zeros"], numbers["nan"]
    if nan == 1:
        return "No voxel has a finite value."
    if zeros == 1:
        return "All voxels are zero."
    # NOTE: there is no deviation without a value.
    return "All voxels are zero or NaN." if isnan(numbers["std"]) else ""


def _of_space(here: _Map) -> str:
    outside, coverage = here.numbers["outside"], here.numbers["coverage"]
    if outside == 1:
        return "All values are outside the mask: the map lies elsewhere."
    limit = _HALF if coverage <= _HALF else _FIFTH
    if coverage < _MOST and outside > limit:
        return (
            f"{_percent(outside)} of the values are outside the mask: the map is "
            "perhaps not in MNI space."
        )
    return ""


def _of_coverage(here: _Map) -> str:
    coverage = here.numbers["coverage"]
    if here.discrete or not 0 < coverage < _LEAST_COVERAGE:
        return ""
    return (
        f"{_percent(coverage, 'Only ')} of the mask has values: the map is "
        "thresholded, sparse or of a small field of view."
    )


def _of_labels(here: _Map) -> str:
    if here.discrete or here.is_one_of(_ANATOMY):
        return ""
    if here.numbers["std"] == 0:
        return "All values are equal: a mask rather than a statistic."
    whole = here.numbers["whole"]
    if whole > _MOST_LABELS:
        return (
            f"{_percent(whole)} of the values are whole numbers: labels or counts "
            "rather than a statistic."
        )
    return ""


def _of_size(here: _Map) -> str:
    if not here.is_one_of(_TWO_SIDED):
        return ""
    if here.largest > _LARGEST:
        least, most = here.extremes
        return (
            f"Values from {least:.4g} to {most:.4g} reach beyond ±{_LARGEST:g}: too "
            f"far for a {here.kind}."
        )
    if here.may_be_probability:
        return (
            "All values are between 0 and 1: a map of p values rather than a "
            f"{here.kind}."
        )
    if here.largest < _SMALLEST:
        return (
            f"No value reaches ±{_SMALLEST:g}: effect sizes, correlations or p values "
            f"rather than a {here.kind}."
        )
    return ""


def _of_sign(here: _Map) -> str:
    share = here.numbers["positive"]
    if not here.is_one_of(_TWO_SIDED) or 0 < share < 1 or here.may_be_probability:
        return ""
    sign = "positive" if share else "negative"
    return f"All values are {sign}: one tail only, or no {here.kind}."


def _of_definition(here: _Map) -> str:
    least, most = here.extremes
    if here.is_one_of(_PROBABILITIES) and not here.may_be_probability:
        return f"Values from {least:.4g} to {most:.4g}: probabilities are 0 to 1."
    if here.is_one_of(_NEVER_NEGATIVE) and least < -_ROUNDING:
        return f"Values down to {least:.4g}: no {here.kind} has any below 0."
    return ""


def _percent(share: float, before: str = "") -> str:
    return f"{before}{share:.0%}" if share >= _LEAST_SHOWN else "Less than 1%"


_RULES: tuple[Callable[[_Map], str], ...] = (
    _of_space,
    _of_coverage,
    _of_labels,
    _of_size,
    _of_sign,
    _of_definition,
)
