"""Genuine NIfTI files, made when asked for: smooth maps on grids that labs use."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

Array = NDArray[np.float32]

SCALED: Mapping[str, tuple[float, float]] = MappingProxyType({"int16": (2**-9, 0.25)})
"""Slope and intercept of the storage types that have them."""

SPACES: Mapping[str, tuple[tuple[int, int, int], tuple[float, ...]]] = MappingProxyType(
    {
        "mni3": ((61, 73, 61), (3, 3, 3, -90, -126, -72)),
        "mni6": ((31, 37, 31), (6, 6, 6, -90, -126, -72)),
        "flipped3": ((61, 73, 61), (-3, 3, 3, 90, -126, -72)),
        "rounded3": ((61, 73, 61), (3, 3, 3.00001, -90.00002, -126, -72)),
        "fsl1": ((182, 218, 182), (-1, 1, 1, 90, -126, -72)),
        "fsl2": ((91, 109, 91), (-2, 2, 2, 90, -126, -72)),
        "spm2": ((79, 95, 79), (-2, 2, 2, 78, -112, -70)),
        "spm3": ((53, 63, 46), (-3, 3, 3, 78, -112, -50)),
        "fmriprep2": ((97, 115, 97), (2, 2, 2, -96, -132, -78)),
        "slab3": ((61, 73, 14), (3, 3, 3, -90, -126, 20)),
        "oblique3": ((64, 76, 60), (3, 3, 3, -90, -126, -72)),
        "mouse": ((56, 76, 38), (0.2, 0.2, 0.2, -5.6, -9.4, -3.8)),
    }
)
"""Grids by name: shape, then voxel edges (sign: direction) and origin in mm."""

PATTERNS: Mapping[str, tuple[tuple[float, float, float, float, float], ...]] = (
    MappingProxyType(
        {
            "none": (),
            "motor": (
                (-38, -24, 56, 1, 10),
                (18, -52, -22, 0.8, 9),
                (-4, -4, 56, 0.6, 8),
                (40, -22, 54, -0.5, 10),
            ),
            "auditory": ((-54, -22, 6, 1, 11), (56, -18, 4, 0.95, 11)),
            "visual": ((-10, -94, 0, 1, 11), (14, -92, 2, 0.95, 11)),
            "language": (
                (-50, 20, 16, 0.8, 10),
                (-56, -42, 4, 1, 12),
                (-44, -56, -16, 0.7, 8),
            ),
            "calculation": (
                (-32, -58, 46, 1, 10),
                (34, -58, 46, 0.9, 10),
                (46, 8, 28, 0.6, 9),
            ),
            "faces": (
                (42, -50, -20, 1, 8),
                (-40, -52, -20, 0.8, 8),
                (22, -6, -18, 0.7, 7),
                (-20, -6, -18, 0.6, 7),
            ),
            "fear": (
                (24, -4, -20, 1, 8),
                (-22, -4, -20, 0.9, 8),
                (0, 20, 36, 0.5, 11),
                (36, 22, 0, 0.6, 9),
            ),
        }
    )
)
"""Planted activations: spots at x, y, z (mm, MNI), with height and width (mm)."""


@dataclass(frozen=True)
class Volume:
    """A recipe for one NIfTI file; calling it gives the file's bytes.

    Notes
    -----
    Noise and activation are drawn in MNI space and then sampled on the grid, so
    recipes that differ in `space` and storage alone hold the same map.

    Examples
    --------
    >>> volume = Volume(space="spm3", seed=1, pattern="motor")
    >>> volume()[:2].hex()
    '1f8b'
    >>> volume.image().shape
    (53, 63, 46)
    """

    space: str = "mni3"
    """The grid, one of `SPACES`."""
    seed: int = 0
    """Which noise."""
    pattern: str = "none"
    """The planted activation: one of `PATTERNS`, or ``button press`` for that of
    NeuroVault's image 10426."""
    height: float = 6.0
    """The planted activation's peak, in standard deviations of the noise."""
    kind: Literal["map", "thresholded", "mask", "parcels", "zeros"] = "map"
    """What the values are."""
    dtype: Literal["float32", "float64", "int16", "uint8"] = "float32"
    """How values are stored; maps in int16 have a slope and an intercept."""
    background: float = 0.0
    """The value outside the brain."""
    trailing: tuple[int, ...] = ()
    """Dimensions after the third: ones, or a number of different volumes."""
    header: Literal["nifti1", "nifti2", "big-endian", "qform"] = "nifti1"
    """How the header is written; ``qform`` leaves the sform unset."""
    compressed: bool = True
    """Whether it is a ``.nii.gz``."""

    def __call__(self) -> bytes:
        """Give the file's bytes, always the same.

        Returns
        -------
        bytes
        """
        return _encoded(self)

    def image(self) -> nib.Nifti1Image:
        """Give the image as nibabel reads it.

        Returns
        -------
        nibabel.Nifti1Image
        """
        raw = self()
        kind = nib.Nifti2Image if self.header == "nifti2" else nib.Nifti1Image
        return kind.from_bytes(gzip.decompress(raw) if self.compressed else raw)


def affine_of(space: str) -> NDArray[np.float64]:
    """Give the affine of a grid.

    Parameters
    ----------
    space : str
        One of `SPACES`.

    Returns
    -------
    numpy.ndarray, shape (4, 4), float64
        From voxel indices to millimetres.

    Examples
    --------
    >>> affine_of("fsl2")[0].tolist()
    [-2.0, 0.0, 0.0, 90.0]
    """
    edges = SPACES[space][1]
    affine = np.diag([*edges[:3], 1.0])
    affine[:3, 3] = edges[3:]
    if space == "oblique3":
        cosine, sine = np.cos(0.3), np.sin(0.3)
        turn = np.eye(4)
        turn[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
        affine = turn @ affine
    return affine


@lru_cache(maxsize=256)
def _encoded(volume: Volume) -> bytes:
    values = _values(volume)
    if volume.trailing:
        last = volume.trailing[-1]
        stack = [values * (1 + 0.1 * number) for number in range(last)]
        values = np.stack(stack, axis=-1).reshape(*values.shape, *volume.trailing)
    slope, inter = SCALED.get(volume.dtype, (1.0, 0.0))
    stored = (values - inter) / slope
    if np.issubdtype(volume.dtype, np.integer):
        stored = np.round(stored)
    raw = _serialised(volume, stored.astype(volume.dtype))
    if volume.dtype in SCALED:
        # nibabel would choose a scaling of its own, so the header is patched.
        raw = raw[:112] + struct.pack("<ff", slope, inter) + raw[120:]
    return gzip.compress(raw, 1, mtime=0) if volume.compressed else raw


def _serialised(volume: Volume, stored: NDArray[Any]) -> bytes:
    affine = affine_of(volume.space)
    image: nib.Nifti1Image | nib.Nifti2Image
    if volume.header == "nifti2":
        image = nib.Nifti2Image(stored, affine)
    else:
        endianness = ">" if volume.header == "big-endian" else "<"
        image = nib.Nifti1Image(stored, affine, nib.Nifti1Header(None, endianness))
    image.header.set_data_dtype(volume.dtype)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"intake_neurovault sample"
    only_qform = volume.header == "qform"
    image.set_qform(affine, 1 if only_qform else 4)
    image.set_sform(affine, 0 if only_qform else 4)
    raw: bytes = image.to_bytes()
    return raw


def _values(volume: Volume) -> Array:
    if volume.space == "mouse":
        return _mouse(volume.seed)
    if volume.kind == "zeros":
        return np.zeros(SPACES[volume.space][0], np.float32)
    inside = _sampled(_brain(), volume.space, order=0) > 0
    if volume.kind == "parcels":
        values = _sampled(_parcels(volume.seed), volume.space, order=0)
    else:
        values = _sampled(
            _map(volume.seed, volume.pattern, volume.height), volume.space
        )
    if volume.kind == "mask":
        values = (values > 0.5 * volume.height).astype(np.float32)
    if volume.kind == "thresholded":
        values = np.where(np.abs(values) > 2.3, values, 0).astype(np.float32)
    # Ten bits of mantissa are all that a statistic means, and they compress.
    bits = values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
    return np.where(inside, bits.view(np.float32), np.float32(volume.background))


def _sampled(data: Array, space: str, *, order: Literal[0, 1] = 1) -> Array:
    shape = SPACES[space][0]
    matrix = np.linalg.inv(affine_of("mni3")) @ affine_of(space)
    linear = matrix[:3, :3] if space == "oblique3" else np.diag(matrix[:3, :3])
    offset = matrix[:3, 3]
    return affine_transform(data, linear, offset, output_shape=shape, order=order)


def shipped_bytes(name: str) -> bytes:
    """Read a file that nilearn ships.

    Parameters
    ----------
    name : str
        Its name, for instance ``image_10426.nii.gz``.

    Returns
    -------
    bytes
        The file as it is, compressed.
    """
    # Not `files("nilearn.datasets")`: that would import most of nilearn.
    return files("nilearn").joinpath("datasets", "data", name).read_bytes()


@cache
def _shipped(name: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(shipped_bytes(name)))


@cache
def _brain() -> Array:
    template = _shipped("mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    # The template's 1 mm grid contains every voxel centre of mni3.
    whole = np.asarray(template.dataobj)[8:189:3, 8:225:3, 0:181:3]
    return (whole > 0).astype(np.float32)


@cache
def _button_press() -> Array:
    image = _shipped("image_10426.nii.gz")
    matrix = np.linalg.inv(image.affine) @ affine_of("mni3")
    scaled = affine_transform(
        image.get_fdata(dtype=np.float32),
        np.diag(matrix[:3, :3]),
        matrix[:3, 3],
        output_shape=SPACES["mni3"][0],
        order=1,
    )
    return np.asarray(scaled / np.abs(scaled).max(), np.float32)


@cache
def _activation(pattern: str) -> Array:
    if pattern == "button press":
        return _button_press()
    shape = SPACES["mni3"][0]
    total = np.zeros(shape, np.float32)
    origin = SPACES["mni3"][1][3:]
    axes = [
        3.0 * np.arange(count) + start
        for count, start in zip(shape, origin, strict=True)
    ]
    for *centre, height, width in PATTERNS[pattern]:
        x, y, z = (
            np.exp(-0.5 * ((axis - middle) / width) ** 2)
            for axis, middle in zip(axes, centre, strict=True)
        )
        total += (height * x[:, None, None] * y[:, None] * z).astype(np.float32)
    return total


def _noise(seed: int, sigma: float) -> Array:
    white = np.random.default_rng(seed).standard_normal(SPACES["mni3"][0], np.float32)
    smooth = gaussian_filter(white, sigma, mode="wrap", truncate=3.0)
    return np.asarray(smooth / smooth.std(), np.float32)


@lru_cache(maxsize=8)
def _map(seed: int, pattern: str, height: float) -> Array:
    return _noise(seed, 1.7) + np.float32(height) * _activation(pattern)


@lru_cache(maxsize=8)
def _parcels(seed: int) -> Array:
    fields = [_noise(100 * seed + number, 4.0) for number in range(12)]
    labels = np.argmax(fields, axis=0) + 1
    return np.where(_brain() > 0, labels, 0).astype(np.float32)


def _mouse(seed: int) -> Array:
    shape = SPACES["mouse"][0]
    white = np.random.default_rng(seed).standard_normal(shape, np.float32)
    smooth = gaussian_filter(white, 2.0)
    grid = np.indices(shape, np.float32)
    half = np.array(shape, np.float32)[:, None, None, None] / 2
    inside = (((grid - half) / (0.85 * half)) ** 2).sum(axis=0) < 1
    return np.where(inside, smooth / smooth.std(), 0).astype(np.float32)
