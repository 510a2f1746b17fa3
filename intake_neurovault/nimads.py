"""Studies and contrasts as NIMADS, the format of studies that NiMARE reads.

NIMADS is described at https://nimare.readthedocs.io/en/latest/nimads.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from intake_neurovault.contrasts import Contrast, kind_of
from intake_neurovault.records import Collection

__all__ = ["document"]

# NOTE: NiMARE looks in the metadata for maps too, under the names of their kinds.
_TAKEN = frozenset(
    {
        *("id", "study_id", "contrast_id", "sample_sizes", "samplevar_dataset"),
        *("z", "t", "p", "beta", "varcope", "d", "g", "g_var", "se", "sd"),
    }
)


def document(
    contrasts: Iterable[Contrast],
    collections: Mapping[int, Collection],
    files: Mapping[int, Mapping[str, str]],
    name: str,
) -> dict[str, Any]:
    """Describe studies and contrasts in the format NIMADS, which NiMARE reads.

    Parameters
    ----------
    contrasts : iterable of Contrast
        What there is.
    collections : mapping of int to Collection
        The collections of the images, by id.
    files : mapping of int to mapping of str to str
        The path of each map of an image, by the image's id, then by kind.
    name : str
        What the whole is called.

    Returns
    -------
    dict
        JSON types only.

    Examples
    --------
    >>> from intake_neurovault.records import Image
    >>> record = {"id": 3, "collection_id": 1, "map_type": "Z map"}
    >>> image = Image.from_json(record, base_url="https://neurovault.org")
    >>> home = Collection.from_json({"id": 1, "name": "Faces"})
    >>> contrasts = [Contrast("1", "faces", (image,))]
    >>> found = document(contrasts, {1: home}, {3: {"z": "/tmp/z.nii"}}, "mine")
    >>> found["studies"][0]["name"], found["studies"][0]["analyses"][0]["images"]
    ('Faces', [{'filename': '/tmp/z.nii', 'value_type': 'z', 'space': None}])
    """
    studies: dict[str, list[Contrast]] = {}
    for each in contrasts:
        studies.setdefault(each.study, []).append(each)
    described = [
        {
            "id": study,
            **_about_study(study, members, collections),
            "analyses": [_analysis(each, files) for each in members],
        }
        for study, members in studies.items()
    ]
    return {"id": "neurovault", "name": name, "studies": described}


def _about_study(
    study: str, members: Sequence[Contrast], collections: Mapping[int, Collection]
) -> dict[str, Any]:
    """Give what the collection says, where all contrasts are of one."""
    homes = {image.collection_id for each in members for image in each.images}
    if len(homes) > 1:
        return {"name": study, "metadata": {}}
    collection = collections[homes.pop()]
    found = collection.metadata
    return {
        "name": collection.name,
        "doi": found.get("DOI"),
        "authors": found.get("authors"),
        "publication": found.get("journal_name"),
        "description": found.get("description"),
        "metadata": {"collection_id": collection.id},
    }


def _analysis(
    contrast: Contrast, files: Mapping[int, Mapping[str, str]]
) -> dict[str, Any]:
    first, subjects = contrast.images[0], contrast.subjects
    sizes = {"sample_sizes": [subjects]} if subjects else {}
    space = first.metadata.get("target_template_image")
    return {
        "id": contrast.id,
        "name": contrast.name,
        "description": first.metadata.get("description"),
        "metadata": {**_plain(first.metadata), "image_id": first.id, **sizes},
        "images": [
            {"filename": path, "value_type": kind, "space": space}
            for kind, path in _maps(contrast, files).items()
        ],
    }


def _maps(contrast: Contrast, files: Mapping[int, Mapping[str, str]]) -> dict[str, str]:
    """Give one map of each kind: what was uploaded before what was made of another."""
    made: dict[str, str] = {}
    for image in contrast.images:
        made |= files[image.id]
    own = {kind: image for image in contrast.images if (kind := kind_of(image))}
    return made | {kind: files[image.id][kind] for kind, image in own.items()}


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the fields that say something, as text, numbers and truth values."""
    known = {
        name: value.isoformat() if isinstance(value, date) else value
        for name, value in metadata.items()
        if name not in _TAKEN
    }
    return {
        name: value
        for name, value in known.items()
        if isinstance(value, str | int | float)
    }
