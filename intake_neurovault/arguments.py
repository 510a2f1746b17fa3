"""The one door: from what a user may write to a deferred result."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fsdecode
from pathlib import Path
from typing import Any

from intake_neurovault import cube
from intake_neurovault.errors import ArgumentError, FilterError
from intake_neurovault.filters import split_terms
from intake_neurovault.frozen import FrozenVault
from intake_neurovault.lock_files import read_lock
from intake_neurovault.locks import Lock
from intake_neurovault.matches import Predicate
from intake_neurovault.neurosynth import words_request
from intake_neurovault.nifti import Reader
from intake_neurovault.parameters import parse_switch
from intake_neurovault.query import (
    DEFAULT_MAX_IMAGES,
    DEFAULTS,
    Query,
    reject_unknown,
)
from intake_neurovault.result import SearchResult
from intake_neurovault.subsets import warn_of_absent
from intake_neurovault.vault import Vault

# What neither the query nor the reader holds: written down as it was given.
_VAULT = frozenset(
    {
        "data_dir",
        "keep_gridded",
        "metadata_ttl",
        "mode",
        "retries",
        "timeout",
        "trusted_hosts",
        "url",
        "workers",
    }
)
_SETTINGS = _VAULT | {"chunks", "errors", "frozen", "progress", "words_url"}
# What stands for no choice among images.
_ALL: Mapping[str, Any] = {
    "image_terms": {},
    "collection_terms": {},
    "max_images": None,
}


def search(
    *,
    image_terms: Mapping[str, Any] | Predicate | None = None,
    collection_terms: Mapping[str, Any] | None = None,
    image_ids: object = None,
    collection_ids: object = None,
    max_images: float | str | None = DEFAULT_MAX_IMAGES,
    frozen: str | PathLike[str] | None = None,
    grid: object = "mni152-3mm",
    interpolation: str = "auto",
    nan: str = "keep",
    fill_value: float = 0.0,
    chunks: int | str = "auto",
    mode: str = "download_new",
    data_dir: str | PathLike[str] | None = None,
    keep_gridded: bool | str | int | None = None,
    metadata_ttl: float | str | None = "1d",
    url: str | None = None,
    trusted_hosts: Sequence[str] = (),
    timeout: float = 30,
    retries: int = 4,
    workers: int = 8,
    errors: str | None = None,
    progress: bool | None = None,
    fetch_neurosynth_words: bool = False,
    words_url: str | None = None,
    resample: bool | None = None,
    **unknown: object,
) -> SearchResult:
    """Describe a set of NeuroVault's images; nothing is requested yet.

    Parameters
    ----------
    image_terms : mapping, optional
        Conditions on the images, such as
        ``{"map_type": ["Z map", "T map"], "number_of_subjects": {"$gte": 20}}``;
        filter objects of nilearn are understood too, and so is a function of an
        image's metadata. Absent: nilearn's ``basic_image_terms()``,
        unthresholded maps in MNI space that are no masks, atlases or anatomy;
        none at all with explicit ids. ``{}`` stands for no condition.
    collection_terms : mapping, optional
        Conditions on the collections. Absent: those that hold images.
    image_ids : int or sequence of int, optional
        Exactly these images, in this order.
    collection_ids : int, str or sequence, optional
        All images of these collections. A private collection is named by its
        token: ``"env:NAME"`` reads it from an environment variable.
    max_images : int, optional
        At most so many; None for all. The default of 100 does not apply to
        explicit ids.
    frozen : path, optional
        The lock that `SearchResult.freeze` wrote, ``"….lock.json"``: exactly the
        images that were found then, with their records and bytes; with arguments of
        those above, what they choose of these. What is not in the store is fetched if
        the server still has it; ``errors`` is ``"raise"`` by default, and
        ``.changes()`` tells what changed.
    grid : str, float, mapping, path or None
        ``"mni152-3mm"``, ``"mni152-2mm"``, ``"mni152-1mm"``, a voxel size in
        millimetres, ``{"affine": 4 × 4, "shape": 3}``, the path of a NIfTI file
        to match, or None to keep every map on its own grid.
    interpolation : {"auto", "continuous", "linear", "nearest"}
        ``auto`` takes the nearest voxel for masks, parcellations and atlases,
        and cubic splines for the rest.
    nan : {"keep", "zero"}
        What becomes of voxels that are not finite.
    fill_value : float
        What stands outside a map's field of view.
    chunks : int or "auto"
        How many maps one dask task reads.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server: never again what is on disk; everything
        anew; nothing at all; only what changed.
    data_dir : path, optional
        nilearn's data folder; the files are kept in ``neurovault`` below it.
    keep_gridded : bool, str or int, optional
        Whether a map that was brought to `grid` is kept in the store, so that it
        need not be made again: True for 20 GB of them, a size such as ``"50 GB"``,
        a number of bytes, or False. What was not used for longest goes first.
        Absent: ``INTAKE_NEUROVAULT_KEEP_GRIDDED``, then True.
    metadata_ttl : float or str
        How old a listing may be before it is asked for again: seconds, or text
        such as ``"1d"``.
    url : str, optional
        The server; ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``,
        if absent; for a frozen query its own in place of the last.
    trusted_hosts : sequence of str
        Hosts besides the server's own from which files are accepted.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    retries : int
        How often a failed request is tried again.
    workers : int
        How many requests run at a time, 1 to 16.
    errors : {"raise", "warn", "skip"}, optional
        What a failure does; by default ``"raise"`` with explicit ids or `frozen`,
        and ``"warn"`` otherwise. What failed in searching or fetching stands in
        ``.failures``; while computing, a map that cannot be had raises, or is NaN.
    progress : bool, optional
        Whether to show progress bars; None: only where somebody watches.
    fetch_neurosynth_words : bool
        Whether to add Neurosynth's word weights, ``word_weights(image, word)``.
    words_url : str, optional
        Where they come from; ``INTAKE_NEUROVAULT_WORDS_URL``, then Neurosynth's
        public address, if absent.
    resample : bool, optional
        nilearn's way to say ``grid="mni152-3mm"`` (True) or ``grid=None``
        (False).
    **unknown
        Refused, with a suggestion.

    Returns
    -------
    SearchResult
        The images, once somebody looks.

    Raises
    ------
    UnknownArgumentError
        If an argument is misspelt.
    ArgumentError
        If a value is not what its argument takes.

    Examples
    --------
    >>> import intake_neurovault
    >>> result = intake_neurovault.search(
    ...     image_terms={"map_type": "Z map", "number_of_subjects": {"$gte": 20}},
    ...     max_images=50,
    ... )
    >>> result.query.max_images
    50
    """
    arguments = locals()
    given = {
        name: _plain(value) for name, value in arguments.items() if name in _SETTINGS
    }
    reject_unknown(unknown, where="search()")
    lock = None if frozen is None else _lock(given)
    terms, predicate = split_terms(image_terms, "image_terms")
    what = {
        "image_terms": terms,
        "collection_terms": _only_declarative(collection_terms),
        "image_ids": image_ids,
        "collection_ids": collection_ids,
        "max_images": max_images,
    }
    said = any(arguments[name] is not DEFAULTS[name] for name in what)
    query = _query(what, fetch_neurosynth_words, lock, said=said)
    reader = Reader.parse(
        grid=_grid(grid, resample),
        interpolation=interpolation,
        nan=nan,
        fill_value=fill_value,
    )
    _check_folder(given["data_dir"])
    if given["words_url"]:
        words_request(str(given["words_url"]), 1)
    strict = query.explicit or lock is not None
    where = {name: value for name, value in given.items() if name in _VAULT}
    vault = Vault.parse(
        **(where | {"url": _server(url, lock)}),
        errors=("raise" if strict else "warn") if errors is None else errors,
        progress=None if progress is None else parse_switch(progress, "progress"),
    )
    return SearchResult(
        query,
        reader,
        vault if lock is None else FrozenVault.of(vault, lock),
        chunks=cube.parse_chunks(given["chunks"]),
        predicate=predicate,
        settings=tuple(
            (name, given[name])
            for name in DEFAULTS
            if name in given and given[name] != _plain(DEFAULTS[name])
        ),
    )


def _lock(given: dict[str, Any]) -> Lock:
    lock = read_lock(given["frozen"])
    if "://" not in given["frozen"]:
        given["frozen"] = str(Path(given["frozen"]).expanduser().absolute())
    return lock


def _query(
    what: Mapping[str, Any], words: object, lock: Lock | None, *, said: bool
) -> Query:
    if lock is None:
        return Query.parse(**what, fetch_neurosynth_words=words)
    # NOTE: the defaults are for what is not chosen yet.
    absent = {name for name in _ALL if what[name] is DEFAULTS[name]}
    chosen = {**what, **{name: _ALL[name] for name in absent}}
    query = Query.parse(**chosen, fetch_neurosynth_words=words)
    if not said:
        return replace(lock.query, words=query.words)
    _warn_of_unfrozen(query, lock)
    return query


def _warn_of_unfrozen(query: Query, lock: Lock) -> None:
    # NOTE: what was asked for and not had was told of when it was frozen.
    images = {each.id for each in lock.images} | {*lock.query.image_ids}
    homes = {*lock.collections, *lock.query.collection_ids}
    homes |= {each.token for each in lock.collections.values() if each.token}
    warn_of_absent("image_ids", [i for i in query.image_ids if i not in images])
    warn_of_absent(
        "collection_ids", [r for r in query.collection_ids if r not in homes]
    )


def _server(url: str | None, lock: Lock | None) -> str | None:
    if lock is None or url:
        return url
    return os.environ.get("INTAKE_NEUROVAULT_URL") or lock.url


# Gives what YAML and JSON can hold, as far as the value has such a form.
def _plain(value: object) -> Any:
    if isinstance(value, PathLike | bytes):
        return fsdecode(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    if isinstance(value, tuple | Iterator):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _check_folder(data_dir: object) -> None:
    text = data_dir if isinstance(data_dir, str) else "?"
    if not text.strip() or "://" in text:
        msg = (
            f"data_dir={data_dir!r} is not a folder on this machine: name one, or "
            "leave it out for nilearn's (a template is empty where its environment "
            "variable is not set)."
        )
        raise ArgumentError(msg)


def _only_declarative(terms: object) -> Any:
    mapping, predicate = split_terms(terms, "collection_terms")
    if predicate is None:
        return mapping
    msg = (
        "collection_terms takes a mapping of fields to conditions; a Python function "
        "can be given as image_terms only."
    )
    raise FilterError(msg)


def _grid(grid: object, resample: bool | None) -> object:
    if resample is None:
        return grid
    if not (isinstance(grid, str) and grid == DEFAULTS["grid"]):
        msg = (
            f"grid={grid!r} and resample={resample!r} say the same thing twice; "
            "leave one of them out."
        )
        raise ArgumentError(msg)
    return DEFAULTS["grid"] if parse_switch(resample, "resample") else None
