"""The sample archive: what a server holds unless told otherwise."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.oddities import add_broken, add_geometry, add_weird
from intake_neurovault.testing.pictures import thumbnail
from intake_neurovault.testing.schema import ATLAS, NIDM_MAP
from intake_neurovault.testing.surfaces import Surface, add_surfaces
from intake_neurovault.testing.volumes import Volume, shipped_bytes

PRIVATE_NAME = "ABCDEFGH"
"""What the private collection of the sample archive is asked for by."""

_MOTOR = {
    "cognitive_paradigm_cogatlas": "motor fMRI task paradigm",
    "cognitive_paradigm_cogatlas_id": "trm_4c898c079d0f4",
    "cognitive_contrast_cogatlas": "left hand vs right hand",
    "contrast_definition": "left hand - right hand",
}
_CONTRASTS = (
    ("sentence reading vs checkerboard", "language", "language comprehension task"),
    ("auditory sentences vs rest", "auditory", "auditory sentence task"),
    ("mental calculation vs sentences", "calculation", "arithmetic task"),
    ("checkerboard vs rest", "visual", "flashing checkerboard"),
)
_EMOTION = (
    ("fearful faces vs shapes", "fear", "fsl2", 24),
    ("angry faces vs shapes", "faces", "fsl2", 24),
    ("faces vs houses", "faces", "spm2", 31),
    ("fearful faces vs neutral faces", "fear", "spm2", 31),
    ("happy faces vs neutral faces", "faces", "fmriprep2", 46),
    ("fearful faces vs happy faces", "fear", "fmriprep2", 46),
    ("emotional scenes vs scrambled scenes", "fear", "spm3", 18),
    ("viewing faces vs fixation", "faces", "spm3", 18),
)
_STUDIES = (
    ("localizer_sample", "button press", "left_vs_right_hand", "button press"),
    (
        "localizer_sample",
        "arithmetic",
        "auditory_calculation_vs_baseline",
        "calculation",
    ),
    ("objects_sample", "object viewing", "face_vs_house", "faces"),
    ("reading_sample", "reading", "words_vs_consonants", "language"),
)


def sample_archive() -> Archive:
    """Make a small archive that looks like NeuroVault's.

    Returns
    -------
    Archive
        Nine public collections and a private one, with 91 images in all. The
        records are made at once, the files when they are first asked for.

    Notes
    -----
    The maps of one laboratory, images 48004 and 48005, have surface files too. Image
    10426, of collection 658, is NeuroVault's own, as nilearn ships it; fifteen
    other maps of that collection add seeded noise to its activation. Nothing else
    was measured: every map is noise with planted spots, every number is invented,
    and the DOIs have the prefix 10.5555 that is set aside for examples.

    Examples
    --------
    >>> archive = sample_archive()
    >>> archive.collections[658]["number_of_images"]
    20
    """
    archive = Archive()
    for add in (
        _add_localizer,
        _add_emotion,
        _add_single_subjects,
        _add_atlases,
        _add_packs,
        add_geometry,
        add_weird,
        add_broken,
        _add_rest,
    ):
        add(archive)
    return archive


def _study(archive: Archive, name: str, id: int, year: int, **fields: Any) -> str:
    added = f"{year}-03-09T10:20:30.130299+01:00"
    archive.add_collection(name, id=id, add_date=added, **fields)
    return added


def _published(number: int) -> dict[str, Any]:
    doi = f"10.5555/sample.{number}"
    return {
        "DOI": doi,
        "paper_url": f"https://doi.org/{doi}",
        "journal_name": "Journal of Sample Data",
        "authors": "A. Author, B. Author and C. Author",
        "publication_status": "published",
        "doi_add_date": "2024-01-15T09:30:00+01:00",
    }


def _add_map(
    archive: Archive, collection_id: int, volume: Volume, id: int, **fields: Any
) -> None:
    picture = f"/media/images/{collection_id}/glass_brain_{id}.png"
    archive.add_image(collection_id, volume, id=id, thumbnail=picture, **fields)
    archive.add_file(picture, partial(thumbnail, volume))


def _add_localizer(archive: Archive) -> None:
    added = _study(
        archive,
        "Functional localizer: pressing buttons, reading, listening and calculating",
        658,
        2015,
        description="Group maps of a five-minute localizer, site by site.",
        scanner_make="Siemens",
        field_strength=3.0,
        repetition_time=2.4,
        software_package="SPM",
        **_published(658),
    )
    _add_button_presses(archive, added)
    for number, (name, pattern, paradigm) in enumerate(_CONTRASTS):
        _add_map(
            archive,
            658,
            Volume("spm3", 50 + number, pattern),
            10430 + number,
            name=name,
            contrast_definition=name.replace(" vs ", " - "),
            cognitive_paradigm_cogatlas=paradigm,
            number_of_subjects=66,
            add_date=added,
        )


def _add_button_presses(archive: Archive, added: str) -> None:
    hands = {**_MOTOR, "add_date": added, "figure": "2A"}
    archive.add_image(
        658,
        partial(shipped_bytes, "image_10426.nii.gz"),
        id=10426,
        name="left vs right button press",
        map_type="T map",
        number_of_subjects=66,
        description="As nilearn ships it.",
        **hands,
    )
    for number, letter in enumerate("ABCDEFGHIJKLMNO"):
        _add_map(
            archive,
            658,
            Volume("spm3", number, "button press", height=5.0 + number % 3),
            10410 + number,
            name=f"left vs right button press, site {letter}",
            map_type="Z map" if number % 3 else "T map",
            number_of_subjects=12 + 4 * number,
            smoothness_fwhm=8.0,
            **hands,
        )


def _add_emotion(archive: Archive) -> None:
    added = _study(
        archive,
        "Émotion: faces and scenes in four laboratories",
        3324,
        2018,
        description="Every laboratory kept the grid of its own software.",
        used_smoothing=True,
        smoothing_fwhm=6.0,
        **_published(3324),
    )
    for number, (name, pattern, space, subjects) in enumerate(_EMOTION):
        _add_map(
            archive,
            3324,
            Volume(
                space, 200 + number, pattern, dtype="int16" if number < 1 else "float32"
            ),
            48000 + number,
            name=name,
            map_type="Z map" if number % 4 else "T map",
            number_of_subjects=subjects,
            contrast_definition=name.replace(" vs ", " - "),
            cognitive_paradigm_cogatlas="emotion processing fMRI task paradigm",
            cognitive_paradigm_cogatlas_id="trm_550b5b066f37b",
            age=24.5 + number,
            add_date=added,
        )
    for image_id in (48004, 48005):
        add_surfaces(
            archive,
            image_id,
            left=Surface(image_id, "faces", "left"),
            right=Surface(image_id, "faces", "right"),
        )
    thresholded = Volume("fsl2", 200, "fear", kind="thresholded")
    archive.add_image(
        3324,
        thresholded,
        id=48020,
        filename="fearful_faces_thresholded.nii.gz",
        name="fearful faces vs shapes, thresholded",
        is_thresholded=True,
        number_of_subjects=24,
        perc_bad_voxels=97.2,
        brain_coverage=8.1,
        add_date=added,
    )


def _add_single_subjects(archive: Archive) -> None:
    added = _study(
        archive,
        "Contrast maps of single subjects from many studies",
        1952,
        2016,
        description="Custom fields say study, task, contrast and subject.",
    )
    ids = [32015, 32016, *range(32020, 32029), 32980]
    for number, image_id in enumerate(ids):
        name, task, contrast, pattern = _STUDIES[1 if image_id == 32980 else number % 4]
        subject = f"sub-{number // 4 + 1:02d}"
        archive.add_image(
            1952,
            Volume("spm3", 300 + number, pattern, height=3.0),
            id=image_id,
            filename=f"{name}_{subject}_{contrast}.nii.gz",
            name=f"{name} {subject} {contrast}",
            analysis_level="single-subject",
            number_of_subjects=1,
            contrast_definition=contrast,
            add_date=added,
            study=name,
            task=task,
            contrast=contrast,
            subject=subject,
            subject_id=number // 4 + 1,
            repetition=1 if number % 2 else "01",
        )


def _add_atlases(archive: Archive) -> None:
    added = _study(archive, "Atlases, parcellations and regions", 262, 2014)
    labels = "/media/images/262/parcels.xml"
    lines = [f'<label index="{index}">parcel {index}</label>' for index in range(1, 13)]
    archive.add_file(labels, f"<atlas><data>{''.join(lines)}</data></atlas>".encode())
    atlas = {"image_type": ATLAS, "label_description_file": labels, "add_date": added}
    parcels = Volume("fsl2", 7, kind="parcels", dtype="uint8")
    archive.add_image(262, parcels, id=1401, name="twelve parcels, 2 mm", **atlas)
    coarse = replace(parcels, space="mni3", dtype="int16")
    archive.add_image(262, coarse, id=1402, name="twelve parcels, 3 mm", **atlas)
    mask = Volume("fsl1", 8, "motor", kind="mask", dtype="uint8")
    rows: tuple[tuple[str, str, Volume], ...] = (
        ("twelve parcels as a parcellation", "parcellation", parcels),
        ("hand area, 1 mm", "ROI/mask", mask),
        ("an anatomical image", "anatomical", Volume("mni3", 9)),
        ("a variance map", "variance", Volume("mni3", 10)),
    )
    for image_id, (name, map_type, volume) in enumerate(rows, start=1403):
        archive.add_image(
            262,
            volume,
            id=image_id,
            name=name,
            map_type=map_type,
            analysis_level="other",
            number_of_subjects=None,
            add_date=added,
        )


def _add_packs(archive: Archive) -> None:
    added = _study(archive, "Pain: NIDM-Results packs", 1425, 2017)
    shown = "/collections/1425/pain_group.nidm"
    rows = (("TStatistic.nii.gz", "T map"), ("ZStatistic_T001.nii.gz", "Z map"))
    for image_id, (filename, map_type) in enumerate(rows, start=21001):
        archive.add_image(
            1425,
            Volume("spm3", image_id, "fear", dtype="float64"),
            id=image_id,
            filename=f"pain_group.nidm/{filename}",
            image_type=NIDM_MAP,
            name=f"Statistic Map: pain > rest ({map_type})",
            description=f"NIDM Results: pain_group.nidm.zip > {filename}",
            map_type=map_type,
            analysis_level="other",
            number_of_subjects=0,
            nidm_results=shown,
            nidm_results_ttl=f"{shown}.ttl",
            add_date=added,
        )
    archive.add_pack(1425, "pain_group.nidm", [21001, 21002])


def _add_rest(archive: Archive) -> None:
    _study(archive, "An empty collection", 23, 2020)
    added = _study(archive, "Not yet published", 9001, 2023, token=PRIVATE_NAME)
    for number in (1, 2):
        archive.add_image(
            9001,
            Volume("mni6", 400 + number, "motor"),
            id=90010 + number,
            name=f"unpublished map {number}",
            add_date=added,
        )
