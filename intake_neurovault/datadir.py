"""Where nilearn keeps its data, by nilearn's own rule."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from intake_neurovault.errors import ArgumentError

FOLDER = "neurovault"
"""Name of the store in a data folder."""

_VARIABLES = ("NILEARN_SHARED_DATA", "NILEARN_DATA")


def find_root(
    data_dir: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Choose the store that nilearn would choose; nothing is created.

    Parameters
    ----------
    data_dir : path, optional
        nilearn's data folder, or several separated as in ``PATH``. If absent, those
        in ``NILEARN_SHARED_DATA`` and ``NILEARN_DATA``, and ``~/nilearn_data``.
    environ : mapping, optional
        The environment variables.

    Returns
    -------
    pathlib.Path
        Absolute: the first ``neurovault`` that exists in one of these folders, else
        the first that could be made, else the first.

    Raises
    ------
    ArgumentError
        If `data_dir` is no path.

    Notes
    -----
    The rule is that of ``nilearn.datasets``, except that ``~`` is expanded.

    Examples
    --------
    >>> find_root("/no/such/folder").as_posix()
    '/no/such/folder/neurovault'
    """
    places = [folder / FOLDER for folder in _data_dirs(data_dir, environ)]
    # NOTE: os.access answers where is_dir would raise for want of permission.
    there = (place for place in places if os.access(place, os.F_OK) and place.is_dir())
    chosen = next(there, None) or next(filter(_creatable, places), places[0])
    return chosen.resolve() if chosen.is_symlink() else chosen


def _data_dirs(
    data_dir: str | os.PathLike[str] | None, environ: Mapping[str, str]
) -> list[Path]:
    if data_dir is None:
        values = (environ.get(name) for name in _VARIABLES)
        lists = [*(value for value in values if value is not None), "~/nilearn_data"]
    else:
        try:
            lists = [os.fsdecode(data_dir)]
        except TypeError as error:
            msg = f"data_dir={data_dir!r} is not a path; pass the folder as text."
            raise ArgumentError(msg) from error
    names = [name for text in lists for name in text.split(os.pathsep)]
    return [Path(name).expanduser().absolute() for name in names]


def _creatable(place: Path) -> bool:
    if os.access(place, os.F_OK) or place.is_symlink():
        return False
    above = next(folder for folder in place.parents if os.access(folder, os.F_OK))
    return above.is_dir() and os.access(above, os.W_OK | os.X_OK)
