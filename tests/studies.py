"""A small archive for comparisons with nilearn: quick to fetch, and to resample."""

from __future__ import annotations

import gzip
import random
from functools import cache

import nibabel
import numpy as np
import pytest

from intake_neurovault.testing import Archive
from intake_neurovault.testing.volumes import SPACES, affine_of

SPACE = "mni6"
"""Its grid of 6 mm covers the same box as nilearn's of 3 mm in our shape."""
TASKS = ("faces", "None / Other", "n/a", "tapping", "", None)
NAMES = ("faces vs houses map", "smiling face", "finger tapping map", "pain")
TYPES = ("Z map", "T map", "Z map", "F map")
COLLECTIONS = (
    ("Faces and houses", 7, "10.5555/a", "Journal of Sample Data"),
    ("Finger tapping", 8, "10.5555/b", "n/a"),
    ("Pain", 8, None, None),
    ("Foods and drinks", 9, "10.5555/d", ""),
    ("Nothing yet", 9, "10.5555/e", None),
    ("Fear", 8, None, "NA"),
)
SIZES = (6, 5, 4, 5, 0, 4)


@cache
def content(number: int) -> bytes:
    """Make the file of an image."""
    data = np.random.default_rng(number).standard_normal(SPACES[SPACE][0])
    image = nibabel.Nifti1Image(data.astype("f4").round(1), affine_of(SPACE))
    return gzip.compress(image.to_bytes(), 1, mtime=0)


def study_archive(*, odd: bool) -> Archive:
    """Six small collections; if odd, with records that nilearn changes."""
    made = Archive()
    draw = random.Random(11)  # noqa: S311 - sample data
    for home, (name, owner, doi, journal) in enumerate(COLLECTIONS, start=1):
        made.add_collection(name, id=home, owner=owner, DOI=doi, journal_name=journal)
        for place in range(SIZES[home - 1]):
            number = 1000 * home + place
            atlas = {"image_type": "atlas"} if number == 4003 else {}
            kind = {"map_type": "ROI/mask" if place == 4 else TYPES[place % 4]}
            made.add_image(
                home,
                content(number),
                id=number,
                name=NAMES[number % 7 % 4],
                number_of_subjects=draw.choice((8, 12, 15, 20, 31, None)),
                age=draw.choice((22.0, 25.0, 25.5, 30.25, None)),
                is_thresholded=draw.choice((False, False, False, True, None)),
                not_mni=draw.choice((False, False, False, True, None)),
                task=draw.choice(TASKS),
                scanned=draw.choice(("2014-03-02", "2018-07-30", None)),
                repeated=draw.choice((1, True, None)),
                **(atlas or kind),
            )
    if odd:
        made.edit_collection(6, journal_name="None of these journals")
        made.edit_image(2003, task="None of the above")
        made.edit_image(3002, absolute_pitch=1)
        made.edit_image(4001, absolute_pitch=1, task="nonegative")
    for number in range(1000, 1006):
        plain = {"map_type": TYPES[number % 4], "is_thresholded": False}
        made.edit_image(number, not_mni=False, **plain)
    # nilearn takes the collections as the server lists them, we by their ids.
    made.order.sort()
    return made


def point_us_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Make a server ours, the way a user does."""
    patch.setenv("INTAKE_NEUROVAULT_URL", url)
    patch.setenv("INTAKE_NEUROVAULT_WORDS_URL", f"{url}/api/decode/")
