"""Neurosynth's decoder, as its address is asked for the words of one image."""

from __future__ import annotations

import random

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.messages import Answer, Asked, html_error
from intake_neurovault.testing.rendering import parameters, to_int

_WORDS = """
    attention auditory calculation checkerboard default emotion face faces fear finger
    hand language memory motor movement number pain reading reward sentence social
    sound speech tapping visual working
"""
VOCABULARY = tuple(_WORDS.split())
"""Every word that is weighed."""


def word_weights(archive: Archive, image_id: int) -> dict[str, float]:
    """Weigh the vocabulary for an image: what its record says weighs most.

    Parameters
    ----------
    archive : Archive
        Where the image is.
    image_id : int
        The image.

    Returns
    -------
    dict of str to float
        A correlation for each word, the same at every call.
    """
    record = archive.images[image_id]
    keys = ("name", "contrast_definition", "cognitive_paradigm_cogatlas")
    text = " ".join(str(record.get(key) or "") for key in keys).lower()
    seeded = random.Random(image_id)  # noqa: S311 - sample data, not a secret
    return {
        word: round(seeded.uniform(-0.1, 0.1) + 0.4 * (word in text), 6)
        for word in VOCABULARY
    }


def decode(archive: Archive, asked: Asked) -> Answer:
    """Answer ``/api/decode/?neurovault=<image id>`` as neurosynth.org does.

    Parameters
    ----------
    archive : Archive
        Where the images are.
    asked : Asked
        The request.

    Returns
    -------
    Answer
        The words and their weights, or a 404.
    """
    number = to_int(parameters(asked.query).get("neurovault", ""))
    if number is None or number not in archive.images:
        return html_error(asked, 404)
    payload = {"data": {"values": word_weights(archive, number)}}
    return Answer(200, {"Content-Type": "application/json"}, payload=payload)
