"""Voxels of one file: which bytes are read for what is indexed, and what they say."""

from __future__ import annotations

import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.headers import Encoding, parse_volumes
from intake_neurovault.origins import LocalFile, Origin, origin_of
from intake_neurovault.voxels import Stretch, Voxels, read_header

SHAPE = (3, 4, 5, 2)
NUMBERS = np.arange(120, dtype="i2").reshape(SHAPE)


def written(
    path: Path, data: NDArray[Any] = NUMBERS, *, slope: float = 1, inter: float = 0
) -> Path:
    """Write stored numbers, and a scaling."""
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    raw = image.to_bytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def voxels_of(origin: Origin) -> Voxels:
    header, gzipped = read_header(origin)
    _, encoding, _ = parse_volumes(header, origin.label)
    return Voxels(origin, header, encoding, gzipped, header.shape)


def indices(size: int) -> st.SearchStrategy[int | slice]:
    return st.integers(-size, size - 1) | st.slices(size)


KEYS = st.tuples(*map(indices, SHAPE))


@given(key=KEYS)
def test_a_stretch_holds_the_part(key: tuple[int | slice, ...]) -> None:
    expected = NUMBERS[key]
    if expected.size == 0:
        return
    stretch = Stretch.of(key, SHAPE)
    flat = NUMBERS.ravel(order="F")[stretch.start :][: np.prod(stretch.shape)]
    block = flat.reshape(stretch.shape, order="F")
    np.testing.assert_array_equal(block[stretch.key], expected)


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ((1, 2, 3, 1), 1),
        ((slice(None), 2, 3, 1), 3),
        ((0, slice(1, 3), 3, 1), 6),
        ((0, 0, slice(None, None, -2), 0), 60),
        ((0, 0, 0, slice(None)), 120),
    ],
)
def test_no_more_than_the_last_axis_asks_for(key: Any, count: int) -> None:
    assert np.prod(Stretch.of(key, SHAPE).shape) == count


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Voxels]:
    """One array in a plain and in a gzipped file, scaled and not."""
    folder = tmp_path_factory.mktemp("voxels")
    return [
        voxels_of(LocalFile(written(folder / f"{slope}{suffix}", slope=slope)))
        for suffix in (".nii", ".nii.gz")
        for slope in (1, 0.5)
    ]


@given(key=KEYS)
def test_what_is_indexed_is_read(
    key: tuple[int | slice, ...], files: list[Voxels]
) -> None:
    for voxels in files:
        found = voxels.read(key)
        expected = NUMBERS[key] * voxels.encoding.slope
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == voxels.dtype
        assert np.shape(found) == np.shape(expected)


@pytest.mark.parametrize(
    ("dtype", "slope", "inter", "expected"),
    [
        ("i2", 1, 0, "i2"),
        (">i2", 1, 0, "i2"),
        ("u1", 2, 0, "f4"),
        ("i2", 2, 0, "f4"),
        ("i2", 2, 1, "f8"),
        ("i4", 2, 0, "f8"),
        ("f4", 1, 0, "f4"),
        ("f4", 2, 0, "f8"),
        ("c8", 2, 0, "c16"),
    ],
)
def test_types_of_values(
    dtype: str, slope: float, inter: float, expected: str, files: list[Voxels]
) -> None:
    encoding = Encoding(np.dtype(dtype), slope, inter)
    assert replace(files[0], encoding=encoding).dtype == np.dtype(expected)
    assert replace(files[0], encoding=encoding).dtype.isnative


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize(("slope", "inter"), [(1, 0), (0.1, 0), (0.1, 300.7)])
def test_values_are_those_of_nibabel(
    dtype: str, slope: float, inter: float, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.nii", NUMBERS.astype(dtype), slope=slope, inter=inter)
    voxels = voxels_of(LocalFile(path))
    expected = np.asarray(nibabel.load(path).dataobj).astype(voxels.dtype)
    np.testing.assert_array_equal(voxels.read((slice(None),) * 4), expected)


@pytest.mark.parametrize(
    ("gzipped", "shape", "expected"),
    [
        (True, (91, 109, 91), (91, 109, 91)),
        (False, (91, 109, 91, 300), (91, 109, 91, 1)),
        (True, (91, 109, 91, 300), (91, 109, 91, 74)),
        (True, (500, 500, 500, 3), (500, 500, 500, 1)),
        (True, (91, 109, 91, 4, 100), (91, 109, 91, 4, 18)),
    ],
)
def test_chunks_are_whole_volumes(
    gzipped: bool, shape: Any, expected: Any, files: list[Voxels]
) -> None:
    encoding = Encoding(np.dtype("f4"), 1, 0)
    voxels = replace(files[0], encoding=encoding, gzipped=gzipped, shape=shape)
    assert voxels.chunks() == expected


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("key", [(slice(None),) * 4, (0, 0, 0, 0)])
def test_a_file_that_was_exchanged(suffix: str, key: Any, tmp_path: Path) -> None:
    voxels = voxels_of(LocalFile(written(tmp_path / f"a{suffix}")))
    written(tmp_path / f"a{suffix}", NUMBERS.reshape(4, 3, 5, 2))
    with pytest.raises(CorruptFileError, match=r"a\.nii.*another than when it was"):
        voxels.read(key)


@pytest.mark.parametrize("key", [(slice(None),) * 4, (0, 0, 0, 0)])
def test_damage_and_truncation_of_gzip(key: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii.gz")
    whole = path.read_bytes()
    voxels = voxels_of(LocalFile(path))
    path.write_bytes(whole[:-9])
    with pytest.raises(CorruptFileError, match=r"a\.nii\.gz: the file is cut off"):
        voxels.read(key)
    path.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    with pytest.raises(CorruptFileError, match=r"a\.nii\.gz: .*damaged"):
        voxels.read(key)
    short = gzip.compress(gzip.decompress(whole)[:-2])
    path.write_bytes(short)
    with pytest.raises(CorruptFileError, match=r"ends after 590 of 592 bytes"):
        voxels.read(key)
    path.write_bytes(whole + bytes(9))
    assert voxels.read((2, 3, 4, 1)) == 119


def test_a_plain_file_that_is_cut_off(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii")
    voxels = voxels_of(LocalFile(path))
    opened = replace(voxels, origin=origin_of(path.read_bytes()[:-3], None))
    path.write_bytes(path.read_bytes()[:-3])
    for each in (voxels, opened):
        with pytest.raises(CorruptFileError, match=r"ends after 589 of 592 bytes"):
            each.read((0, 0, slice(None), 1))
    with pytest.raises(CorruptFileError, match=r"ends after 589 of 592 bytes"):
        read_header(LocalFile(path))


def test_voxels_can_be_pickled(files: list[Voxels]) -> None:
    for voxels in files:
        again = pickle.loads(pickle.dumps(voxels))
        assert again == voxels
        assert again.read((2, 3, 4, 1)) == voxels.read((2, 3, 4, 1))
