"""Records of images to lazy, labelled cubes: a Dataset, or a tree of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.blocks import MapArray
from intake_neurovault.columns import image_columns
from intake_neurovault.coordinates import (
    NIFTI,
    Column,
    axis_columns,
    dataset_attrs,
    map_attrs,
    nifti_attrs,
)
from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.fieldwise import Images
from intake_neurovault.garbage import uncollected
from intake_neurovault.grid import Grid
from intake_neurovault.nifti import Geometry, Reader, resolve_grid
from intake_neurovault.placement import (
    node_names,
    place,
    several_grids,
    warn_of_other_spaces,
    warn_of_unplaced,
)
from intake_neurovault.pool import ErrorPolicy
from intake_neurovault.records import IMAGE_KINDS, Collection, Image
from intake_neurovault.stack import Keeper, MapStack, Opener

__all__ = [
    "Opener",
    "Recipe",
    "add_words",
    "build",
    "build_tree",
    "loaded",
    "parse_chunks",
    "single",
]

Chunks = int | Literal["auto"]

_CHUNK_BYTES = 64 * 2**20
# NOTE: measured with two threads, for the mean of 200 maps at 3 mm. From the originals
# the time is that of decoding, whatever the size; from files on the grid it is the same
# with 8 to 64 maps, and half as long again with one. But 16 maps need 40 MB more than
# 8, and 64 need 200 MB more, since a reduction copies the chunk of each thread. A chunk
# of one map would leave nothing to be downloaded while it is decoded.
_CHUNK_MAPS = 8


@dataclass(frozen=True)
class Recipe:
    """All that makes a cube from records, but the records of the images."""

    reader: Reader
    """On which grid, and by which rules, maps are read."""
    opener: Opener
    """What makes files local, on the workers too."""
    chunks: Chunks = "auto"
    """Maps in a chunk; ``"auto"`` for about 64 MiB, 8 maps at most."""
    collections: Mapping[int, Collection] = field(default_factory=dict, hash=False)
    """The collections of the images, by id."""
    query: str = "{}"
    """What was searched, as JSON, for the attributes."""
    url: str = "https://neurovault.org"
    """Where, for the attributes."""
    token: str = ""
    """What tells this query from others in dask's names."""
    errors: ErrorPolicy = "raise"
    """What a file that cannot be decoded does; unless ``raise``, the map is NaN."""
    keeper: Keeper | None = None
    """What keeps maps on their grid; None: each is made anew from its file."""


def parse_chunks(chunks: object) -> Chunks:
    """Understand how many maps make a chunk.

    Parameters
    ----------
    chunks : "auto" or int
        A number of maps, at least 1; digits will do. ``"auto"`` aims at 64 MiB and
        takes at most 8 maps.

    Returns
    -------
    int or "auto"
        The same, checked.

    Raises
    ------
    ArgumentError
        If it is neither.

    Examples
    --------
    >>> parse_chunks("auto"), parse_chunks("8")
    ('auto', 8)
    """
    if isinstance(chunks, str) and chunks.strip().lower() == "auto":
        return "auto"
    try:
        number = 0 if isinstance(chunks, bool) else int(str(chunks))
    except ValueError:
        number = 0
    if number < 1:
        msg = (
            f"chunks={chunks!r} must be 'auto' or the number of maps in a chunk, "
            "at least 1."
        )
        raise ArgumentError(msg)
    return number


@uncollected()
def build(
    images: Sequence[Image],
    recipe: Recipe,
    *,
    geometries: Sequence[Geometry | None] | None = None,
) -> xr.Dataset:
    """Make the cube of images that stand on one grid.

    Parameters
    ----------
    images : sequence of Image
        At least one; they become the rows in this order.
    recipe : Recipe
        How.
    geometries : sequence of Geometry or None, optional
        For ``grid=None``: where the voxels of each image lie; None for a file that
        could not be had, whose map will be NaN.

    Returns
    -------
    xarray.Dataset
        ``maps``, float32 and lazy, with the dimensions ``image``, ``x``, ``y`` and
        ``z`` (``i``, ``j``, ``k`` on an oblique grid); metadata as coordinates on
        ``image``; the scalar coordinate ``nifti`` with the affine. Choosing single
        images, by label or by a condition, leaves the files of all others alone.

    Raises
    ------
    GeometryError
        For ``grid=None``, if the images lie on several grids, or no file could be
        had.

    Warns
    -----
    NeuroVaultWarning
        If records name another template space or species than the others do.

    Examples
    --------
    >>> from contextlib import nullcontext
    >>> raw = {"id": 3, "collection_id": 1, "map_type": "Z map"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> def opener(files, *, doubted=False):
    ...     return nullcontext(None for _ in files)
    >>> recipe = Recipe(Reader.parse(), opener)
    >>> build([image], recipe).maps.shape
    (1, 61, 73, 61)
    """
    grid, images = resolve_grid(recipe.reader.grid), Images.of(images)
    groups = place(images, grid, geometries)
    if len(groups) > 1:
        raise GeometryError(several_grids(images, groups))
    return _dataset(images, _on(grid, recipe), groups[0].geometry)


@uncollected()
def build_tree(
    images: Sequence[Image],
    recipe: Recipe,
    *,
    geometries: Sequence[Geometry | None] | None = None,
) -> xr.DataTree:
    """Make one cube for each grid that occurs.

    Parameters
    ----------
    images : sequence of Image
        At least one.
    recipe : Recipe
        How.
    geometries : sequence of Geometry or None, optional
        As for :func:`build`.

    Returns
    -------
    xarray.DataTree
        A node for each grid, in the order of its first image, named after the grid:
        ``mni152_3mm`` for ``"mni152-3mm"``, ``grid_`` and eight digits of a digest
        for one without a name.

    Raises
    ------
    GeometryError
        For ``grid=None``, if no file could be had.

    Warns
    -----
    NeuroVaultWarning
        As for :func:`build`; and if images are left out since their grid is not
        known.
    """
    grid, images = resolve_grid(recipe.reader.grid), Images.of(images)
    groups = place(images, grid, geometries)
    nodes = {}
    for name, group in zip(node_names(groups), groups, strict=True):
        rows, every = group.rows, len(group.rows) == len(images)
        some = images if every else Images(images[i] for i in rows)
        nodes[name] = _dataset(some, _on(grid, recipe), group.geometry)
    placed = {i for group in groups for i in group.rows}
    warn_of_unplaced([each for i, each in enumerate(images) if i not in placed])
    root = xr.Dataset(attrs=_attrs(images, recipe))
    return xr.DataTree.from_dict({"/": root, **nodes})


def loaded(dataset: xr.Dataset) -> xr.Dataset:
    """Read the maps of a cube into memory.

    Parameters
    ----------
    dataset : xarray.Dataset
        What :func:`build` gives, or a choice of its images.

    Returns
    -------
    xarray.Dataset
        The same, computed, with one copy of the maps and no more.

    Raises
    ------
    NeuroVaultError
        If one cannot be read.
    """
    maps = dataset["maps"]
    # NOTE: `load` would leave it to dask, which puts the chunks together afterwards.
    return dataset.assign(maps=maps.copy(deep=False, data=np.asarray(maps.data)))


def single(dataset: xr.Dataset, image: Image) -> xr.DataArray:
    """Load one map of a cube, with its metadata as attributes.

    Parameters
    ----------
    dataset : xarray.Dataset
        What :func:`build` gives.
    image : Image
        One of its images.

    Returns
    -------
    xarray.DataArray
        ``(x, y, z)``. The attributes are those of ``maps`` and the core fields that
        are not null, a boolean as 0 or 1; custom fields are in ``extra`` as a JSON
        object.

    Raises
    ------
    NeuroVaultError
        If it cannot be read.
    """
    found = loaded(dataset.sel(image=image.id))["maps"]
    core = {
        name: int(value) if isinstance(value, bool) else value
        for name, value in image.metadata.items()
        if name in IMAGE_KINDS and value is not None
    }
    extra = {"extra": json.dumps(image.extra, sort_keys=True)} if image.extra else {}
    return found.assign_attrs({**core, **extra})


def add_words(
    dataset: xr.Dataset, weights: NDArray[np.float64], vocabulary: Sequence[str]
) -> xr.Dataset:
    """Put the weights of words beside the maps.

    Parameters
    ----------
    dataset : xarray.Dataset
        What :func:`build` gives.
    weights : ndarray of shape (n_images, n_words), float64
        One row for each image of the cube.
    vocabulary : sequence of str
        The words.

    Returns
    -------
    xarray.Dataset
        The same with ``word_weights(image, word)``.
    """
    words = xr.Variable("word", np.array(vocabulary, dtype=object))
    attrs = {"long_name": "Neurosynth's correlation of the map with the word"}
    return dataset.assign_coords(word=words).assign(
        word_weights=(("image", "word"), weights, attrs)
    )


def _on(grid: Grid | None, recipe: Recipe) -> Recipe:
    """Put numbers for a grid that a file names, so that workers need not have it."""
    return replace(recipe, reader=replace(recipe.reader, grid=grid))


def _dataset(images: Images, recipe: Recipe, geometry: Geometry) -> xr.Dataset:
    """Put voxels, axes and metadata together."""
    warn_of_other_spaces(images, everywhere=recipe.reader.grid is not None)
    stack = MapStack(
        maps=images.maps,
        grid=geometry.grid,
        reader=recipe.reader,
        opener=recipe.opener,
        errors=recipe.errors,
        keeper=recipe.keeper,
    )
    rows = _rows(recipe.chunks, geometry.grid)
    axes = axis_columns(geometry.grid)
    columns = image_columns(images, recipe.collections)
    spaces = {
        each or "unknown" for each in set(images.field("target_template_image").values)
    }
    header = nifti_attrs(geometry, ", ".join(sorted(spaces)))
    ids = np.array(images.maps.numbers, dtype=np.int64)
    about = {"long_name": "number of the image on NeuroVault"}
    coords = {
        "image": _variable(("image",), Column(ids, about)),
        **{name: _variable((name,), axis) for name, axis in axes.items()},
        **{name: _variable(("image",), each) for name, each in columns.items()},
        NIFTI: xr.Variable((), np.int64(0), header),
    }
    array = MapArray.of(stack, rows, recipe.token)
    attrs = map_attrs(set(images.field("map_type").values), recipe.reader)
    maps = xr.Variable(("image", *axes), array, attrs)
    return xr.Dataset({"maps": maps}, coords, _attrs(images, recipe))


def _variable(dims: tuple[str, ...], column: Column) -> xr.Variable:
    # NOTE: without the short way, every text would be looked at, and copied.
    return xr.Variable(dims, column.values, column.attrs, fastpath=True)


def _attrs(images: Images, recipe: Recipe) -> dict[str, str]:
    """Say where the maps come from, and whom to cite."""
    given = {"url": recipe.url, "query": recipe.query}
    return dataset_attrs(images.homes, recipe.collections, **given)


def _rows(chunks: Chunks, grid: Grid) -> int:
    """Give the number of maps in a chunk."""
    if chunks != "auto":
        return chunks
    size = int(np.prod(grid.shape)) * np.dtype(np.float32).itemsize
    return max(1, min(_CHUNK_MAPS, _CHUNK_BYTES // size))
