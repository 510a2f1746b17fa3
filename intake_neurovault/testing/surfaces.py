"""Surface maps: GIFTI files on fsaverage5, and how they come into an archive."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage, GiftiMetaData
from numpy.typing import NDArray

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.disk import Content, StoredFile, free_path
from intake_neurovault.testing.volumes import PATTERNS, shipped_bytes

Hemisphere = Literal["left", "right"]

_SHORT = {"left": "lh", "right": "rh"}
_STRUCTURES = {"left": "CortexLeft", "right": "CortexRight"}
_SMOOTHINGS = 6


@dataclass(frozen=True)
class Surface:
    """The file of one hemisphere: values at the vertices of fsaverage5.

    Called, it gives the bytes, always the same.

    Examples
    --------
    >>> Surface(0, "motor", "left")()[:21]
    b'<?xml version="1.0" e'
    """

    seed: int
    """What the noise is made of."""
    pattern: str = "none"
    """The planted activation, as for a `Volume`, where it reaches the cortex."""
    hemisphere: Hemisphere = "left"
    """Which one."""
    height: float = 6.0
    """The planted activation's peak, in standard deviations of the noise."""

    def values(self) -> NDArray[np.float32]:
        """Give the values.

        Returns
        -------
        ndarray
            10,242 of them, float32.
        """
        points, _ = _pial(self.hemisphere)
        planted = np.zeros(len(points))
        for *centre, height, width in PATTERNS[self.pattern]:
            away = ((points - centre) ** 2).sum(axis=1)
            planted += height * np.exp(-0.5 * away / width**2)
        return (_noise(self.seed, self.hemisphere) + self.height * planted).astype("f4")

    def __call__(self) -> bytes:
        """Give the file's bytes.

        Returns
        -------
        bytes
            GIFTI, as NeuroVault makes it of what was uploaded.
        """
        return gifti_bytes(self.values(), self.hemisphere)


def gifti_bytes(
    values: NDArray[Any],
    hemisphere: Hemisphere = "left",
    encoding: str = "GIFTI_ENCODING_B64GZ",
) -> bytes:
    """Write values at vertices as a GIFTI file.

    Parameters
    ----------
    values : ndarray
        One for each vertex.
    hemisphere : {"left", "right"}
        Which one it is said to be.
    encoding : str
        How they are written, by nibabel's names.

    Returns
    -------
    bytes
        The file.
    """
    about = GiftiMetaData({"AnatomicalStructurePrimary": _STRUCTURES[hemisphere]})
    array = GiftiDataArray(values, intent="NIFTI_INTENT_NONE", encoding=encoding)
    return bytes(GiftiImage(meta=about, darrays=[array]).to_bytes())


def add_surfaces(
    archive: Archive,
    image_id: int,
    *,
    left: Content | None = None,
    right: Content | None = None,
    name: str | None = None,
) -> None:
    """Give an image surface files; its dates stay as they are.

    Parameters
    ----------
    archive : Archive
        Where the image is.
    image_id : int
        The image.
    left, right : bytes or callable, optional
        The files: their bytes, or a function that makes them when first asked.
    name : str, optional
        How the names of the files begin; as that of the image's file if left out. The
        server does not quote it in its answers.
    """
    with archive.lock:
        record = archive.images[image_id]
        folder, _, file = record["file"].rpartition("/")
        stem = file.partition(".")[0] if name is None else name
        for hemisphere, content in (("left", left), ("right", right)):
            if content is not None:
                wanted = f"{folder}/{stem}.fsaverage.{_SHORT[hemisphere]}.func.gii"
                path = free_path(wanted, archive.files)
                record[f"surface_{hemisphere}_file"] = path
                written = archive.files[record["file"]].modified
                archive.files[path] = StoredFile(content, written)
        record["data_origin"] = "surface"


@cache
def _pial(hemisphere: str) -> tuple[NDArray[Any], NDArray[Any]]:
    packed = shipped_bytes(f"fsaverage5/pial_{hemisphere}.gii.gz")
    points, triangles = GiftiImage.from_bytes(gzip.decompress(packed)).darrays
    return points.data, triangles.data


@cache
def _noise(seed: int, hemisphere: str) -> NDArray[Any]:
    points, triangles = _pial(hemisphere)
    count, side = len(points), len(hemisphere)
    values = np.random.default_rng([seed, side]).standard_normal(count)
    ends, others = triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()
    neighbours = np.bincount(ends, minlength=count)
    for _ in range(_SMOOTHINGS):
        around = np.bincount(ends, weights=values[others], minlength=count)
        values = 0.5 * (values + around / neighbours)
    found: NDArray[Any] = values / values.std()
    return found
