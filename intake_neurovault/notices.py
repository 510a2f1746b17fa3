"""Warnings, at the line of whoever called this package."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

from intake_neurovault.errors import NeuroVaultWarning

_INSIDE = (str(Path(__file__).parent), contextlib.__file__)
"""Where what led to a warning is no business of the caller's."""


def warn(message: str) -> None:
    """Warn, at the line outside this package that led here.

    Parameters
    ----------
    message : str
        One sentence or two.

    Warns
    -----
    NeuroVaultWarning
        With the message.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     warn("Half of it is missing.")
    >>> said[0].filename == __file__
    False
    """
    warnings.warn(message, NeuroVaultWarning, stacklevel=_level())


def _level() -> int:
    # NOTE: 3.12 can skip files by itself, with `skip_file_prefixes`.
    level, frame = 2, sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith(_INSIDE):
        level, frame = level + 1, frame.f_back
    return level
