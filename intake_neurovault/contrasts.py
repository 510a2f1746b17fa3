"""Which images a meta-analysis can take, and which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intake_neurovault.errors import ArgumentError, Failure
from intake_neurovault.records import Image

__all__ = [
    "Contrast",
    "Grouping",
    "failure",
    "kind_of",
    "subjects_of",
    "summary",
]

_KINDS = {
    "z map": "z",
    "t map": "t",
    "univariate-beta map": "beta",
    "variance": "varcope",
}
_LEVELS = (None, "group")
_LISTED = 8  # ids that one message names


@dataclass(frozen=True)
class Contrast:
    """One effect in one sample: an analysis, as NiMARE calls it.

    Examples
    --------
    >>> record = {"id": 3, "collection_id": 1, "map_type": "Z map"}
    >>> image = Image.from_json(record, base_url="https://neurovault.org")
    >>> contrast = Contrast("1", "3", (image,))
    >>> contrast.id, contrast.subjects
    ('3', None)
    """

    study: str
    """Which study it is of; images of one study share participants."""
    name: str
    """What it is called."""
    images: tuple[Image, ...]
    """Its maps, each of another kind."""

    @property
    def id(self) -> str:
        """The numbers of its images."""
        return "_".join(str(image.id) for image in self.images)

    @property
    def subjects(self) -> int | None:
        """How many participants there were, or None if no record says it."""
        return next((n for n in map(subjects_of, self.images) if n), None)


@dataclass(frozen=True)
class Grouping:
    """By which fields images become studies and contrasts, and what is asked of them.

    Examples
    --------
    >>> shared = {"collection_id": 1, "number_of_subjects": 20}
    >>> records = {"id": 3, "map_type": "Z map"}, {"id": 4, "map_type": "F map"}
    >>> url = "https://neurovault.org"
    >>> images = [Image.from_json(shared | each, base_url=url) for each in records]
    >>> contrasts, refused = Grouping().sort(images)
    >>> [contrast.id for contrast in contrasts], [failure.id for failure in refused]
    (['3'], [4])
    """

    study: str = "collection_id"
    """The field whose value images of the same participants share."""
    contrast: str = "id"
    """The field whose value maps of one contrast in a study share."""
    sized: bool = True
    """Whether each image must say how many subjects there were."""

    def check(self, images: Sequence[Image]) -> None:
        """Refuse a field that no image has.

        Parameters
        ----------
        images : sequence of Image
            The images.

        Raises
        ------
        ArgumentError
            If no image has a value in one of the two fields.
        """
        for argument in ("study", "contrast"):
            name = getattr(self, argument)
            if not any(image.metadata.get(name) is not None for image in images):
                msg = (
                    f"{argument}={name!r} is no field in which one of the images has a "
                    "value; look at the columns of .df, or at .unique()"
                )
                raise ArgumentError(msg)

    def sort(self, images: Sequence[Image]) -> tuple[list[Contrast], list[Failure]]:
        """Put together what belongs together, and refuse what cannot be taken.

        Parameters
        ----------
        images : sequence of Image
            The images.

        Returns
        -------
        contrasts : list of Contrast
            In the order of their first images.
        refused : list of Failure
            One for each image that is in none of them.
        """
        groups: dict[tuple[str, ...], list[Image]] = {}
        fields, refused = (self.study, self.contrast), []
        for image in images:
            reason = self._refusal(image)
            if reason is None:
                key = tuple(str(image.metadata[name]) for name in fields)
                groups.setdefault(key, []).append(image)
            else:
                refused.append(failure(image, reason))
        contrasts = []
        for (study, contrast), members in groups.items():
            reason = self._mismatch(members)
            if reason is None:
                title = members[0].metadata.get("name") or contrast
                name = str(title) if self.contrast == "id" else contrast
                contrasts.append(Contrast(study, name, tuple(members)))
            else:
                refused += [failure(image, reason) for image in members]
        return contrasts, refused

    def _refusal(self, image: Image) -> str | None:
        """Say why an image cannot be taken, whatever the others are."""
        found = image.metadata
        for argument in ("study", "contrast"):
            if found.get(name := getattr(self, argument)) is None:
                return f"it has no value in {name!r}; name another field in {argument}="
        kind, level = found.get("map_type"), found.get("analysis_level")
        if kind_of(image) is None:
            what = "not given" if kind is None else repr(kind)
            return (
                f"map_type is {what}, and a meta-analysis takes Z maps, T maps, "
                "univariate-beta maps and their variance; ask for "
                "image_terms={'map_type': ['Z map', 'T map']}"
            )
        if level not in _LEVELS:
            return (
                f"analysis_level is {level!r}, and a meta-analysis combines maps of "
                "groups; ask for image_terms={'analysis_level': 'group'}"
            )
        if found.get("is_thresholded"):
            return (
                "is_thresholded is true, so that weak effects are missing; ask for "
                "image_terms={'is_thresholded': False}"
            )
        return self._missing_subjects(image)

    def _missing_subjects(self, image: Image) -> str | None:
        number = subjects_of(image)
        if number == 1:
            return (
                "number_of_subjects is 1, and a meta-analysis combines maps of groups; "
                "ask for image_terms={'number_of_subjects': {'$gte': 2}}"
            )
        if number is not None or not (self.sized or kind_of(image) == "t"):
            return None
        why = (
            "not given, without which a T map becomes no Z map; ask"
            if kind_of(image) == "t"
            else "not given; give require_sample_sizes=False if the method needs none, "
            "or ask"
        )
        return (
            f"number_of_subjects is {why} for "
            "image_terms={'number_of_subjects': {'$gte': 2}}"
        )

    def _mismatch(self, images: Sequence[Image]) -> str | None:
        """Say why images are not the maps of one contrast."""
        numbers = _listed([str(image.id) for image in images])
        kinds = [kind_of(image) for image in images]
        if len(set(kinds)) < len(kinds):
            return (
                f"several of the images {numbers} are of one kind though they share "
                f"{self.contrast!r} in one study; name in contrast= a field that tells "
                "them apart"
            )
        sizes = sorted({number for number in map(subjects_of, images) if number})
        if len(sizes) > 1:
            return (
                f"the images {numbers} share {self.contrast!r} but have other numbers "
                f"of subjects ({', '.join(map(str, sizes))}); name another field in "
                "contrast="
            )
        if kinds == ["varcope"]:
            return (
                "a map of variance says nothing without its beta map; name in "
                "contrast= the field in which the two agree"
            )
        return None


def kind_of(image: Image) -> str | None:
    """Give the kind of a map, as NiMARE calls it.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    {"z", "t", "beta", "varcope"} or None
        None if image-based meta-analysis has no use for it. The names are those of
        ``nimare.io.DEFAULT_MAP_TYPE_CONVERSION``, without P maps, which have no sign,
        and multivariate betas, which are no size of an effect.

    Examples
    --------
    >>> record = {"id": 3, "collection_id": 1, "map_type": "variance"}
    >>> kind_of(Image.from_json(record, base_url="https://neurovault.org"))
    'varcope'
    """
    return _KINDS.get(str(image.metadata.get("map_type")).strip().lower())


def subjects_of(image: Image) -> int | None:
    """Tell how many subjects there were.

    Parameters
    ----------
    image : Image
        The image.

    Returns
    -------
    int or None
        None if the record does not say it, or says 0, as the server does where it
        does not know.

    Examples
    --------
    >>> record = {"id": 3, "collection_id": 1, "number_of_subjects": 0}
    >>> subjects_of(Image.from_json(record, base_url="https://neurovault.org")) is None
    True
    """
    number = image.metadata.get("number_of_subjects")
    return number if isinstance(number, int) and number > 0 else None


def summary(refused: Sequence[Failure], total: int) -> str:
    """Say in one sentence which images cannot be taken, and why.

    Parameters
    ----------
    refused : sequence of Failure
        At least one.
    total : int
        Of how many images.

    Returns
    -------
    str
        The sentence; images with the same reason are named together.

    Examples
    --------
    >>> why = "image {} (collection 1): too old"
    >>> some = [Failure(n, 1, "", why.format(n), 0) for n in (3, 4)]
    >>> print(summary(some, 9))
    2 of 9 images cannot go into a meta-analysis: 3, 4 (too old); or leave them out with
    errors='skip'.
    """
    reasons: dict[str, list[str]] = {}
    for failure in refused:
        why = failure.reason.partition("): ")[2]
        reasons.setdefault(why, []).append(str(failure.id))
    parts = [f"{_listed(ids)} ({why})" for why, ids in reasons.items()]
    return (
        f"{len(refused)} of {total} images cannot go into a meta-analysis: "
        f"{'; '.join(parts)}; or leave them out with errors='skip'."
    )


def _listed(ids: Sequence[str]) -> str:
    more = len(ids) - _LISTED
    listed = ", ".join(ids[:_LISTED])
    return f"{listed} and {more} more" if more > 0 else listed


def failure(image: Image, reason: str) -> Failure:
    """Note why an image is left out of a meta-analysis.

    Parameters
    ----------
    image : Image
        The image.
    reason : str
        Why, without naming it.

    Returns
    -------
    Failure
        A row of ``.failures``.

    Examples
    --------
    >>> record = {"id": 3, "collection_id": 1, "map_type": "F map"}
    >>> image = Image.from_json(record, base_url="https://neurovault.org")
    >>> failure(image, "it has no sign").reason
    'image 3 (collection 1): it has no sign'
    """
    url = str(image.metadata.get("url") or "")
    where = (image.id, image.collection_id, url)
    return Failure(*where, f"{image.label}: {reason}", 0)
