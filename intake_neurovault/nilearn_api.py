"""nilearn's functions for NeuroVault: same names, arguments, defaults and results.

They only translate: what is asked for becomes a `Query`, how hard to try a `Vault`,
and the answer is what `SearchResult.to_bunch` makes of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from intake_neurovault.datadir import find_root
from intake_neurovault.nifti import Reader
from intake_neurovault.nilearn_terms import (
    Conditions,
    OnDisk,
    among_collections,
    refuse_ids,
    without_collection_id,
)
from intake_neurovault.notices import warn
from intake_neurovault.query import DEFAULT_MAX_IMAGES, Query
from intake_neurovault.result import SearchResult
from intake_neurovault.result_filter import Test, any_record
from intake_neurovault.vault import Vault

if TYPE_CHECKING:
    from intake_neurovault.bunch import Bunch

_Folder = str | os.PathLike[str] | None


def fetch_neurovault(
    max_images: float | None = DEFAULT_MAX_IMAGES,
    collection_terms: Mapping[str, Any] | None = None,
    collection_filter: Test = any_record,
    image_terms: Mapping[str, Any] | None = None,
    image_filter: Test = any_record,
    mode: str = "download_new",
    data_dir: _Folder = None,
    fetch_neurosynth_words: bool = False,
    resample: bool = False,
    interpolation: str = "continuous",
    vectorize_words: bool = True,
    timeout: float = 10.0,
    verbose: int = 3,
    *,
    errors: str = "warn",
    url: str | None = None,
    words_url: str | None = None,
    workers: int = 8,
    metadata_ttl: float | str | None = "1d",
    retries: int = 4,
    allow_neurosynth_failure: bool = True,
    **kwarg_image_filters: Any,
) -> Bunch:
    """Download images that match conditions, as ``nilearn.datasets`` does.

    Parameters
    ----------
    max_images : int, optional
        At most so many; None, a negative number or infinity for all.
    collection_terms : mapping, optional
        Conditions on the collections; `basic_collection_terms` if absent, ``{}`` for
        none.
    collection_filter : callable
        A function of the metadata of a collection, or a `ResultFilter`.
    image_terms : mapping, optional
        Conditions on the images; `basic_image_terms` if absent, ``{}`` for none.
    image_filter : callable
        A function of the metadata of an image, or a `ResultFilter`.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server: never again what is on disk; everything
        anew; nothing at all; only what changed.
    data_dir : path, optional
        nilearn's data folder; the files are kept in ``neurovault`` below it.
    fetch_neurosynth_words : bool
        Whether to fetch Neurosynth's words for each image too.
    resample : bool
        Whether to give files on one grid of 3 mm, `STD_AFFINE`, of one shape.
    interpolation : {"continuous", "linear", "nearest", "auto"}
        How values between voxels are made when resampling: by cubic splines, in
        straight lines, taken from the nearest voxel; or the last for labels and the
        first for all else. A map has one resampled file: what was asked for last.
    vectorize_words : bool
        Whether to put the words into one matrix.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    verbose : int
        0 shows no progress bar; any other number shows bars where somebody watches.
        Messages go to the logger ``intake_neurovault``.
    errors : {"warn", "raise", "skip"}
        What a failure does: leave the image out and warn at the end, raise, or leave
        it out silently.
    url : str, optional
        The server; ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``, if
        absent.
    words_url : str, optional
        Where words come from; ``INTAKE_NEUROVAULT_WORDS_URL``, then Neurosynth's
        public address, if absent.
    workers : int
        How many requests run at a time, 1 to 16.
    metadata_ttl : float or str
        How old a listing may be before it is asked for again: seconds, or text such
        as ``"1d"``.
    retries : int
        How often a failed request is tried again.
    allow_neurosynth_failure : bool
        Whether images whose words cannot be had are given without.
    **kwarg_image_filters
        More conditions on images, such as ``map_type="Z map"``.

    Returns
    -------
    sklearn.utils.Bunch
        ``images``, the path of each file; ``images_meta`` and ``collections_meta``,
        the record of each and of its collection; ``description``; ``failures``, a
        mapping for each thing that could not be had; and, where words
        were asked for, ``word_frequencies`` of shape (n_images, n_words), NaN for
        images without words, and ``vocabulary``; both None if there are no words.

    Raises
    ------
    UnknownArgumentError
        If ``image_ids`` or ``collection_ids`` are given.
    ArgumentError
        If a value is not what its argument takes.
    WordsError
        With ``allow_neurosynth_failure=False``, if the words of an image cannot be
        had.
    NeuroVaultError
        With ``errors="raise"``, the first failure.

    Warns
    -----
    NeuroVaultWarning
        If something could not be had, if no record has a field that is asked for, or
        if a function is given and conditions hold that nobody gave.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_neurovault.testing import NeuroVaultServer
    >>> with NeuroVaultServer() as server, TemporaryDirectory() as folder:
    ...     maps = fetch_neurovault(
    ...         max_images=2, map_type="Z map", url=server.url, data_dir=folder
    ...     )
    >>> len(maps.images), {meta["map_type"] for meta in maps.images_meta}
    (2, {'Z map'})
    """
    refuse_ids(kwarg_image_filters)
    images, collections = without_collection_id(
        Conditions.parse("image", image_terms, image_filter, kwarg_image_filters),
        Conditions.parse("collection", collection_terms, collection_filter, {}),
    )
    query = Query.parse(
        image_terms=images.all_terms,
        collection_terms=collections.all_terms,
        max_images=max_images,
        fetch_neurosynth_words=fetch_neurosynth_words,
    )
    vault = Vault.parse(
        url=url,
        data_dir=data_dir,
        mode=_allowed(mode, data_dir),
        metadata_ttl=metadata_ttl,
        timeout=timeout,
        retries=retries,
        workers=workers,
        errors=errors,
        progress=None if verbose else False,
    )
    if collections.function is not None:
        query = among_collections(query, collections.function, vault)
    function = images.function
    if vault.mirror.offline:
        # NOTE: a cap must count what can be had.
        function = OnDisk(vault.mirror.store.root, function, resampled=resample)
    return SearchResult(
        query,
        _reader(interpolation),
        vault,
        predicate=function,
        settings=(("words_url", words_url),),
    ).to_bunch(
        resample=resample,
        vectorize_words=vectorize_words,
        allow_neurosynth_failure=allow_neurosynth_failure,
    )


def fetch_neurovault_ids(
    collection_ids: object = (),
    image_ids: object = (),
    mode: str = "download_new",
    data_dir: _Folder = None,
    fetch_neurosynth_words: bool = False,
    resample: bool = False,
    vectorize_words: bool = True,
    timeout: float = 10.0,
    verbose: int = 3,
    *,
    interpolation: str = "auto",
    errors: str = "warn",
    url: str | None = None,
    words_url: str | None = None,
    workers: int = 8,
    metadata_ttl: float | str | None = "1d",
    retries: int = 4,
    allow_neurosynth_failure: bool = True,
) -> Bunch:
    """Download certain images and whole collections, as ``nilearn.datasets`` does.

    Parameters
    ----------
    collection_ids : int, str or sequence
        All images of these collections. A private collection is named by its token:
        ``"env:NAME"`` reads it from an environment variable.
    image_ids : int or sequence of int
        These images; they come first, in this order.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server: never again what is on disk; everything
        anew; nothing at all; only what changed.
    data_dir : path, optional
        nilearn's data folder; the files are kept in ``neurovault`` below it.
    fetch_neurosynth_words : bool
        Whether to fetch Neurosynth's words for each image too.
    resample : bool
        Whether to give files on one grid of 3 mm, `STD_AFFINE`, of one shape.
    vectorize_words : bool
        Whether to put the words into one matrix.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    verbose : int
        0 shows no progress bar; any other number shows bars where somebody watches.
        Messages go to the logger ``intake_neurovault``.
    interpolation : {"continuous", "linear", "nearest", "auto"}
        How values between voxels are made when resampling: by cubic splines, in
        straight lines, taken from the nearest voxel; or the last for labels and the
        first for all else. A map has one resampled file: what was asked for last.
    errors : {"warn", "raise", "skip"}
        What a failure does: leave the image out and warn at the end, raise, or leave
        it out silently.
    url : str, optional
        The server; ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``, if
        absent.
    words_url : str, optional
        Where words come from; ``INTAKE_NEUROVAULT_WORDS_URL``, then Neurosynth's
        public address, if absent.
    workers : int
        How many requests run at a time, 1 to 16.
    metadata_ttl : float or str
        How old a listing may be before it is asked for again: seconds, or text such
        as ``"1d"``.
    retries : int
        How often a failed request is tried again.
    allow_neurosynth_failure : bool
        Whether images whose words cannot be had are given without.

    Returns
    -------
    sklearn.utils.Bunch
        ``images``, the path of each file; ``images_meta`` and ``collections_meta``,
        the record of each and of its collection; ``description``; ``failures``, a
        mapping for each thing that could not be had; and, where words
        were asked for, ``word_frequencies`` of shape (n_images, n_words), NaN for
        images without words, and ``vocabulary``; both None if there are no words.

    Raises
    ------
    ArgumentError
        If a value is not what its argument takes.
    WordsError
        With ``allow_neurosynth_failure=False``, if the words of an image cannot be
        had.
    NeuroVaultError
        With ``errors="raise"``, the first failure.

    Warns
    -----
    NeuroVaultWarning
        If something could not be had.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_neurovault.testing import NeuroVaultServer
    >>> with NeuroVaultServer() as server, TemporaryDirectory() as folder:
    ...     maps = fetch_neurovault_ids(
    ...         image_ids=[10426], url=server.url, data_dir=folder
    ...     )
    >>> maps.images_meta[0]["relative_path"]
    'collection_658/image_10426.nii.gz'
    """
    query = Query.parse(
        collection_ids=collection_ids,
        image_ids=image_ids,
        fetch_neurosynth_words=fetch_neurosynth_words,
    )
    vault = Vault.parse(
        url=url,
        data_dir=data_dir,
        mode=_allowed(mode, data_dir),
        metadata_ttl=metadata_ttl,
        timeout=timeout,
        retries=retries,
        workers=workers,
        errors=errors,
        progress=None if verbose else False,
    )
    settings = (("words_url", words_url),)
    return SearchResult(
        query, _reader(interpolation), vault, settings=settings
    ).to_bunch(
        resample=resample,
        vectorize_words=vectorize_words,
        allow_neurosynth_failure=allow_neurosynth_failure,
    )


def _reader(interpolation: str) -> Reader:
    return Reader.parse(grid="mni152-3mm", interpolation=interpolation)


def _allowed(mode: str, data_dir: _Folder) -> str:
    """Read a mode; nothing is asked for where it could not be kept."""
    wanted = mode.lower() if isinstance(mode, str) else mode
    root = find_root(data_dir)
    there = next(each for each in (root, *root.parents) if os.access(each, os.F_OK))
    if wanted == "offline" or os.access(there, os.W_OK):
        return wanted
    msg = (
        f"You don't have write access to {root}: fetch_neurovault works offline; pass "
        "data_dir= with a folder that can be written."
    )
    warn(msg)
    return "offline"
