"""Neurosynth words: which words of the literature maps go with, as one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.notices import warn

if TYPE_CHECKING:
    from sklearn.feature_extraction import DictVectorizer


def vectorise(
    weights: Sequence[Mapping[str, float] | None], **options: Any
) -> tuple[NDArray[np.float64], list[str]]:
    """Put the words of many images into one matrix.

    Parameters
    ----------
    weights : sequence of mapping or None
        For each image the weights of its words; None where there are none to
        be had.
    **options
        Arguments of :class:`sklearn.feature_extraction.DictVectorizer`.

    Returns
    -------
    matrix : ndarray of shape (n_images, n_words), float64 unless a dtype is given
        A word that an image does not have weighs 0; the row of an image without
        words is NaN, so that it cannot be taken for one that matches nothing.
    vocabulary : list of str
        The words, in alphabetic order.

    Examples
    --------
    >>> matrix, vocabulary = vectorise([{"motor": 0.5}, None, {"face": 0.25}])
    >>> vocabulary
    ['face', 'motor']
    >>> matrix.tolist()
    [[0.0, 0.5], [nan, nan], [0.25, 0.0]]
    """
    # NOTE: imported when needed, since it takes half a second.
    kind = import_module("sklearn.feature_extraction").DictVectorizer
    # NOTE: a sparse matrix cannot say that a row is missing.
    vectorizer: DictVectorizer = kind(**{**options, "sparse": False})
    matrix = vectorizer.fit_transform([dict(each or {}) for each in weights])
    # NOTE: whole numbers have no NaN.
    if not np.issubdtype(matrix.dtype, np.floating):
        matrix = matrix.astype(np.float64)
    matrix[[each is None for each in weights]] = np.nan
    return matrix, [str(word) for word in vectorizer.get_feature_names_out()]


def word_frequencies(
    weights: Sequence[Mapping[str, float] | None], **options: Any
) -> tuple[NDArray[np.float64], NDArray[np.str_]] | tuple[None, None]:
    """Put the words of many images into one matrix, as nilearn returns it.

    Parameters
    ----------
    weights : sequence of mapping or None
        As for `vectorise`.
    **options
        As for `vectorise`.

    Returns
    -------
    matrix : ndarray of shape (n_images, n_words), float64, or None
        As `vectorise` gives it; None if no image has words.
    vocabulary : ndarray of str, or None
        The words.

    Warns
    -----
    NeuroVaultWarning
        If no image has words.

    Examples
    --------
    >>> matrix, vocabulary = word_frequencies([{"motor": 0.5}])
    >>> vocabulary.tolist()
    ['motor']
    """
    if not any(weights):
        msg = (
            "No word weight could be loaded, so that there is no matrix of Neurosynth "
            "words; try again later, or pass fetch_neurosynth_words=False."
        )
        warn(msg)
        return None, None
    matrix, vocabulary = vectorise(weights, **options)
    return matrix, np.array(vocabulary)
