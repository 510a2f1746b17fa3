"""Neurosynth's decoder: where it is asked, and what its answer says.

Neurosynth correlates a map of NeuroVault with its own meta-analytic map of each
word of the literature.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import quote

from intake_neurovault.errors import AnswerError, ArgumentError

DEFAULT_WORDS_URL = "https://neurosynth.org/api/decode/"
"""Where Neurosynth decodes the maps of NeuroVault.

Source: ``nilearn.datasets.neurovault``.
"""


def words_request(base: str, image_id: int) -> str:
    """Give the address of the words of one image.

    Parameters
    ----------
    base : str
        Address of the decoder, such as `DEFAULT_WORDS_URL`.
    image_id : int
        Id of the image on NeuroVault.

    Returns
    -------
    str
        The address.

    Raises
    ------
    ArgumentError
        If the base is not an http address.

    Examples
    --------
    >>> words_request("https://neurosynth.org/api/decode/", 10426)
    'https://neurosynth.org/api/decode/?neurovault=10426'
    """
    if not base.startswith(("http://", "https://")):
        msg = f"words_url={base!r} must begin with http:// or https://."
        raise ArgumentError(msg)
    return f"{base.rstrip('/')}/?neurovault={quote(str(image_id))}"


def check_words(answer: object, what: str) -> dict[str, float]:
    """Read the decoder's answer.

    Parameters
    ----------
    answer : object
        Parsed JSON.
    what : str
        What it is about, for the message, such as ``"image 3"``.

    Returns
    -------
    dict of str to float
        The correlation of the map with each word.

    Raises
    ------
    AnswerError
        If the answer does not hold words with finite weights.

    Examples
    --------
    >>> check_words({"data": {"values": {"motor": 0.6}}}, "image 10426")
    {'motor': 0.6}
    """
    data = answer.get("data") if isinstance(answer, Mapping) else None
    values = data.get("values") if isinstance(data, Mapping) else None
    if isinstance(values, Mapping) and values and all(map(_is_weight, values.values())):
        return {str(word): float(weight) for word, weight in values.items()}
    msg = (
        f"Neurosynth's answer for {what} holds no words; leave "
        "fetch_neurosynth_words=False to do without them, or try again later."
    )
    raise AnswerError(msg)


def _is_weight(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )
