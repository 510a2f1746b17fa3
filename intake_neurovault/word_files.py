"""Files of Neurosynth's words, as nilearn and this package keep them, as one matrix."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.errors import AnswerError, CorruptFileError
from intake_neurovault.neurosynth import check_words
from intake_neurovault.sidecars import read_object
from intake_neurovault.words import word_frequencies

logger = logging.getLogger(__name__)


def neurosynth_words_vectorized(
    word_files: Iterable[str | os.PathLike[str]], verbose: int = 3, **kwargs: Any
) -> tuple[NDArray[np.float64], NDArray[np.str_]] | tuple[None, None]:
    """Put the words of many images into one matrix.

    Parameters
    ----------
    word_files : iterable of path
        The files of words, as ``ns_words_absolute_path`` names them.
    verbose : int
        0 does not log which files hold no words.
    **kwargs
        Arguments of :class:`sklearn.feature_extraction.DictVectorizer`, such as
        ``dtype``.

    Returns
    -------
    frequencies : ndarray of shape (n_images, n_words), or None
        The weight of each word for each image. The row of a file that holds no words
        is NaN. None if no file holds any.
    vocabulary : ndarray of str, or None
        The words.

    Warns
    -----
    NeuroVaultWarning
        If no file holds words.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "words.json")
    ...     written = path.write_text('{"data": {"values": {"motor": 0.5}}}')
    ...     weights, words = neurosynth_words_vectorized([path, "/no/such/file"])
    >>> weights.tolist(), words.tolist()
    ([[0.5], [nan]], ['motor'])
    """
    weights: list[Mapping[str, float] | None] = []
    for name in word_files:
        try:
            weights.append(check_words(read_object(Path(name)), f"the file {name}"))
        except (FileNotFoundError, CorruptFileError, AnswerError) as error:
            weights.append(None)
            logger.log(logging.WARNING if verbose else logging.DEBUG, "%s", error)
    return word_frequencies(weights, **kwargs)
