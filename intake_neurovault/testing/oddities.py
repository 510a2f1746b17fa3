"""Collections that a client stumbles over: grids, odd text, broken files."""

from __future__ import annotations

import gzip
from typing import Any

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.volumes import Volume

FEW = 8
"""Number of subjects of these maps, so that asking for ten leaves them out."""

_NAN = float("nan")
_SAME: dict[str, Any] = {"seed": 77, "pattern": "motor"}
_GRIDS: tuple[tuple[str, Volume], ...] = (
    ("mni_3mm", Volume(**_SAME)),
    ("fsl_2mm", Volume("fsl2", **_SAME)),
    ("spm_2mm", Volume("spm2", **_SAME)),
    ("spm_3mm", Volume("spm3", **_SAME)),
    ("fmriprep_2mm", Volume("fmriprep2", **_SAME)),
    ("mni_1mm", Volume("fsl1", **_SAME, kind="mask", dtype="uint8")),
    ("x_flipped", Volume("flipped3", **_SAME)),
    ("oblique", Volume("oblique3", **_SAME)),
    ("rounded_affine", Volume("rounded3", **_SAME)),
    ("int16_slope_intercept", Volume(**_SAME, dtype="int16")),
    ("float64", Volume(**_SAME, dtype="float64")),
    ("nan_background", Volume(**_SAME, background=_NAN)),
    ("trailing_one", Volume(**_SAME, trailing=(1,))),
    ("trailing_two", Volume(**_SAME, trailing=(1, 1))),
    ("four_d", Volume(**_SAME, trailing=(3,))),
    ("big_endian", Volume(**_SAME, header="big-endian")),
    ("nifti2", Volume(**_SAME, header="nifti2")),
    ("qform_only", Volume(**_SAME, header="qform")),
    ("uncompressed", Volume(**_SAME, compressed=False)),
    ("zeros", Volume(kind="zeros")),
    ("small_field_of_view", Volume("slab3", **_SAME)),
    ("mouse", Volume("mouse", seed=5)),
)
_SPECIAL: dict[str, dict[str, Any]] = {
    "mni_1mm": {"map_type": "ROI/mask"},
    "mouse": {"target_template_image": "Dorr2008", "subject_species": "mus musculus"},
    "small_field_of_view": {"brain_coverage": 20.4},
    "zeros": {"brain_coverage": 0.0, "perc_voxels_outside": None},
}
_WEIRD: tuple[dict[str, Any], ...] = (
    {"name": "None", "description": "null", "figure": "n/a"},
    {"name": "n/a", "description": "N/A", "contrast_definition": "none / other"},
    {"name": "None of the above > baseline", "description": "Nonetheless real"},
    {"name": "quotes \"double\" and 'single'", "description": "back\\slash \u2028 sep"},
    {"name": "Ünïcödé 脳画像 🧠 \u202eRTL", "description": "émotion – “curly”"},
    {"name": "<script>alert(1)</script>", "description": "a" * 3000},
    {"name": "  leading and trailing blanks  ", "description": "\n\n"},
    {"name": "../../etc/passwd", "description": "tab\there, name/with\\slashes"},
)
_CUSTOM: dict[str, Any] = {
    "na": "n/a",
    "exp": 100000.0,
    "true": True,
    "null": None,
    "empty": "",
    "ключ": "значение",
    "with space": "x",
    "leading zero": "007",
    "ignore_file_warning": "yes",
    "data": "shadow",
}
_UNKNOWN = (
    "analysis_level is_thresholded perc_bad_voxels not_mni brain_coverage "
    "perc_voxels_outside number_of_subjects"
)


def add_geometry(archive: Archive) -> None:
    """Add collection 20: one map on many grids and in many kinds of file.

    Parameters
    ----------
    archive : Archive
        Where to.
    """
    archive.add_collection("One map on many grids", id=20)
    for number, (name, volume) in enumerate(_GRIDS, start=2001):
        fields = {
            "map_type": "T map",
            "number_of_subjects": FEW,
            **_SPECIAL.get(name, {}),
        }
        suffix = "nii.gz" if volume.compressed else "nii"
        filename = f"{name}.{suffix}"
        archive.add_image(20, volume, id=number, filename=filename, name=name, **fields)


def add_weird(archive: Archive) -> None:
    """Add collection 21: odd text, spellings of nothing, custom fields.

    Parameters
    ----------
    archive : Archive
        Where to.
    """
    archive.add_collection(
        "Odd text – “quoted” & <b>bold</b> 100% #1?", id=21, description="none"
    )
    rows = (
        *_WEIRD,
        {"name": "custom fields", **_CUSTOM},
        {"name": "never checked", **dict.fromkeys(_UNKNOWN.split())},
    )
    for number, row in enumerate(rows, start=2101):
        filename = f"odd #{number} 100%+'a'.nii.gz"
        fields = {"number_of_subjects": FEW, **row}
        volume = Volume("mni6", number)
        archive.add_image(21, volume, id=number, filename=filename, **fields)


def add_broken(archive: Archive) -> None:
    """Add collection 22: files that cannot be had, or cannot be read.

    Parameters
    ----------
    archive : Archive
        Where to.
    """
    archive.add_collection("Broken files", id=22)
    good = Volume("mni6", 5, "motor")()
    flipped = good[:2000] + bytes([good[2000] ^ 1]) + good[2001:]
    page = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"
    rows = (
        ("missing", "missing.nii.gz", None),
        ("truncated", "truncated.nii.gz", good[: len(good) // 2]),
        ("html", "html.nii.gz", page),
        ("zero bytes", "zero.nii.gz", b""),
        ("damaged", "damaged.nii.gz", flipped),
        ("gzip of text", "text.nii.gz", gzip.compress(b"not an image", mtime=0)),
        ("unicode file name", "Ünïcödé_脳.nii.gz", good),
        ("file in a folder", "sub dir/deep.nii.gz", good),
    )
    for number, (name, filename, content) in enumerate(rows, start=2201):
        archive.add_image(
            22,
            content,
            id=number,
            filename=filename,
            name=name,
            number_of_subjects=FEW,
        )
