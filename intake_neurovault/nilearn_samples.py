"""nilearn's sample maps: one image each, under a name of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from intake_neurovault.nilearn_api import fetch_neurovault_ids

if TYPE_CHECKING:
    from intake_neurovault.bunch import Bunch

_Folder = str | os.PathLike[str] | None


def fetch_neurovault_motor_task(
    data_dir: _Folder = None,
    verbose: int = 1,
    timeout: float = 10.0,
    *,
    mode: str = "download_new",
    errors: str = "warn",
    url: str | None = None,
    retries: int = 4,
) -> Bunch:
    """Download the map of a motor task: left against right button press.

    Parameters
    ----------
    data_dir : path, optional
        nilearn's data folder; the file is kept in ``neurovault`` below it.
    verbose : int
        0 shows no progress bar; any other number shows bars where somebody watches.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server, as in `fetch_neurovault_ids`.
    errors : {"warn", "raise", "skip"}
        What a failure does.
    url : str, optional
        The server; ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``, if
        absent.
    retries : int
        How often a failed request is tried again.

    Returns
    -------
    sklearn.utils.Bunch
        As `fetch_neurovault_ids` returns it for image 10426.

    Notes
    -----
    nilearn 0.14 has this function no more; it ships the image.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_neurovault.testing import Archive, NeuroVaultServer, Volume
    >>> archive = Archive()
    >>> about = archive.add_collection("A task", id=658)
    >>> image = archive.add_image(658, Volume("mni6", 1), id=10426)
    >>> with NeuroVaultServer(archive) as server, TemporaryDirectory() as folder:
    ...     maps = fetch_neurovault_motor_task(folder, url=server.url)
    >>> [meta["id"] for meta in maps.images_meta]
    [10426]
    """
    return fetch_neurovault_ids(
        image_ids=[10426],
        mode=mode,
        data_dir=data_dir,
        timeout=timeout,
        verbose=verbose,
        errors=errors,
        url=url,
        retries=retries,
    )


def fetch_neurovault_auditory_computation_task(
    data_dir: _Folder = None,
    verbose: int = 1,
    timeout: float = 10.0,
    *,
    mode: str = "download_new",
    errors: str = "warn",
    url: str | None = None,
    retries: int = 4,
) -> Bunch:
    """Download the map of an auditory computation task of the localizer.

    Parameters
    ----------
    data_dir : path, optional
        nilearn's data folder; the file is kept in ``neurovault`` below it.
    verbose : int
        0 shows no progress bar; any other number shows bars where somebody watches.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server, as in `fetch_neurovault_ids`.
    errors : {"warn", "raise", "skip"}
        What a failure does.
    url : str, optional
        The server; ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``, if
        absent.
    retries : int
        How often a failed request is tried again.

    Returns
    -------
    sklearn.utils.Bunch
        As `fetch_neurovault_ids` returns it for image 32980.

    Notes
    -----
    nilearn fetches the same image.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_neurovault.testing import Archive, NeuroVaultServer, Volume
    >>> archive = Archive()
    >>> about = archive.add_collection("A task", id=1952)
    >>> image = archive.add_image(1952, Volume("mni6", 1), id=32980)
    >>> with NeuroVaultServer(archive) as server, TemporaryDirectory() as folder:
    ...     maps = fetch_neurovault_auditory_computation_task(folder, url=server.url)
    >>> [meta["id"] for meta in maps.images_meta]
    [32980]
    """
    return fetch_neurovault_ids(
        image_ids=[32980],
        mode=mode,
        data_dir=data_dir,
        timeout=timeout,
        verbose=verbose,
        errors=errors,
        url=url,
        retries=retries,
    )
