"""Neurosynth words: which words of the literature maps go with, as one matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction import DictVectorizer


def vectorise(
    weights: Sequence[Mapping[str, float] | None],
) -> tuple[NDArray[np.float64], list[str]]:
    """Put the words of many images into one matrix.

    Parameters
    ----------
    weights : sequence of mapping or None
        For each image the weights of its words; None where there are none to
        be had.

    Returns
    -------
    matrix : ndarray of shape (n_images, n_words), float64
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
    vectorizer = DictVectorizer(sparse=False)
    matrix = vectorizer.fit_transform([dict(each or {}) for each in weights])
    matrix = np.asarray(matrix, dtype=np.float64)
    matrix[[each is None for each in weights]] = np.nan
    return matrix, [str(word) for word in vectorizer.get_feature_names_out()]
