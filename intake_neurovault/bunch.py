"""nilearn's ``Bunch``: lists of paths and of metadata, as its fetchers return them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake_neurovault import layout
from intake_neurovault.records import Collection, Image, clean

if TYPE_CHECKING:
    from sklearn.utils import Bunch as Bunch

DESCRIPTION = """\
Statistical maps of the human brain from NeuroVault, https://neurovault.org

NeuroVault is a public archive of unthresholded statistical maps, masks, atlases and
parcellations, uploaded by those who made them, mostly from functional MRI. A
collection holds the maps of one paper or project; its record names authors and DOI.

images           the path of each map's file, NIfTI
images_meta      the record of each map, and where its files are
collections_meta the record of the collection that each map is in
word_frequencies how well each map agrees with Neurosynth's map of each word; NaN
                 where Neurosynth could not say. Only where words were asked for.
vocabulary       these words
failures         what could not be had, and why

The authors publish their maps under CC0 1.0; please cite their papers, and
Gorgolewski et al. (2015), NeuroVault.org: a web-based repository for collecting and
sharing unthresholded statistical maps of the human brain, Frontiers in
Neuroinformatics 9:8, https://doi.org/10.3389/fninf.2015.00008
"""
"""What a bunch says of itself."""


def make_bunch(
    rows: Iterable[tuple[Image, Collection, Path]],
    root: Path,
    *,
    resampled: bool = False,
    words: bool = False,
) -> Bunch:
    """Describe local files as nilearn does.

    Parameters
    ----------
    rows : iterable of (Image, Collection, pathlib.Path)
        Images, each with the collection it is in and its local file.
    root : pathlib.Path
        The folder of the store.
    resampled : bool
        Whether these are resampled files instead of the originals.
    words : bool
        Whether the records name a file of words also where none is.

    Returns
    -------
    sklearn.utils.Bunch
        ``images``, ``images_meta``, ``collections_meta``, each with one item for each
        row, and ``description``. Paths are text. A collection is there once for each
        of its images.

    Examples
    --------
    >>> about = Collection.from_json({"id": 1, "DOI": "n/a"})
    >>> image = Image.from_json({"id": 3, "collection_id": 1}, base_url="http://a.org")
    >>> path = Path("/data/collection_1/image_3.nii.gz")
    >>> bunch = make_bunch([(image, about, path)], Path("/data"))
    >>> bunch.images, bunch.images_meta[0]["relative_path"]
    (['/data/collection_1/image_3.nii.gz'], 'collection_1/image_3.nii.gz')
    >>> bunch.collections_meta[0]["DOI"] is None
    True
    """
    which = "resampled_absolute_path" if resampled else "absolute_path"
    images, metas, collections = [], [], []
    known: dict[int, dict[str, Any]] = {}
    for image, about, path in rows:
        if about.id not in known:
            known[about.id] = _collection_meta(about, root)
        images.append(str(path))
        metas.append(_image_meta(image, root, words=words) | {which: str(path)})
        collections.append(dict(known[about.id]))
    # NOTE: scikit-learn takes half a second to import, and most results need none.
    bunch: Bunch = import_module("sklearn.utils").Bunch(
        images=images,
        images_meta=metas,
        collections_meta=collections,
        description=DESCRIPTION,
    )
    return bunch


def _image_meta(image: Image, root: Path, *, words: bool) -> dict[str, Any]:
    ids = image.collection_id, image.id
    places = {
        "relative_path": layout.image_path(*ids),
        "resampled_relative_path": layout.resampled_path(*ids),
    }
    if words or (root / layout.words_path(*ids)).is_file():
        places["ns_words_relative_path"] = layout.words_path(*ids)
    return _cleaned(image.raw) | places | _absolute(places, root)


def _collection_meta(about: Collection, root: Path) -> dict[str, Any]:
    places = {"relative_path": layout.collection_dir(about.id)}
    return _cleaned(about.raw) | places | _absolute(places, root)


def _cleaned(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: clean(value) for name, value in raw.items()}


def _absolute(places: Mapping[str, str], root: Path) -> dict[str, str]:
    return {
        name.replace("relative", "absolute"): str(root / place)
        for name, place in places.items()
    }
