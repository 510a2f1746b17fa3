"""The numbers of whole files, with each library that may or may not be there."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intake_neurovault.decoding import LARGEST, NiftiFile
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.inflation import QUICKEST, STANDARD, Libraries
from intake_neurovault.integrity import NiftiStream
from intake_neurovault.nifti import Reader

LABEL = "image 3 (collection 1)"
SHAPE = (6, 7, 8)
AFFINE = np.diag([2.0, 2, 2, 1])
LIBRARIES = {
    "standard": STANDARD,
    "streams": Libraries(QUICKEST.streams),
    "quickest": QUICKEST,
}

every_library = pytest.mark.parametrize(
    "libraries", LIBRARIES.values(), ids=list(LIBRARIES)
)
in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def nifti(data: np.ndarray, slope: float = 0, inter: float = 0, gap: int = 4) -> bytes:
    """Make a file by hand, so that nibabel does not choose another scaling."""
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header.set_sform(AFFINE, 4)
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["magic"], header["vox_offset"] = header.single_magic, 348 + gap
    return bytes(header.binaryblock) + bytes(gap) + data.tobytes("F")


DATA = np.random.default_rng(0).normal(size=SHAPE).astype("<f4")
PLAIN = nifti(DATA)
NUMBERS = PLAIN[352:]
PACKED = gzip.compress(PLAIN, mtime=0)


def members(content: bytes, *cuts: int) -> bytes:
    edges = [0, *cuts, len(content)]
    return b"".join(gzip.compress(content[i:j], mtime=0) for i, j in pairwise(edges))


def put(folder: Path, content: bytes) -> Path:
    path = folder / "image_3.nii.gz"
    path.write_bytes(content)
    return path


def numbers(
    path: Path, libraries: Libraries = QUICKEST, limit: int = 1 << 32
) -> memoryview:
    with path.open("rb", buffering=0) as source:
        file = NiftiFile(source, LABEL, libraries)
        return file.numbers(file.header(), limit=limit)


def complaint(path: Path, libraries: Libraries) -> str | None:
    try:
        numbers(path, libraries)
    except CorruptFileError as error:
        return str(error)
    return None


def streamed_complaint(path: Path, libraries: Libraries) -> str | None:
    with path.open("rb") as source:
        stream = NiftiStream(source, LABEL, libraries=libraries)
        try:
            stream.numbers(stream.header())
        except CorruptFileError as error:
            return str(error)
    return None


def read(path: Path) -> np.ndarray:
    return Reader.parse(grid=None)(path, discrete=False, label=LABEL)


@every_library
class TestWholeFiles:
    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(PLAIN, id="plain"),
            pytest.param(PACKED, id="one member"),
            pytest.param(members(PLAIN, 500), id="two members"),
            pytest.param(members(PLAIN, 1, 2, 348, 352), id="cut in the header"),
            pytest.param(members(PLAIN, 600, 600), id="an empty member"),
            pytest.param(PACKED + bytes(700_000), id="zeros behind"),
            pytest.param(gzip.compress(PLAIN + b"note" * 9), id="a note behind"),
            pytest.param(PLAIN + bytes(1 << 22), id="much behind a plain file"),
            pytest.param(PLAIN + b"note" * 9, id="a note behind a plain file"),
            pytest.param(nifti(DATA, gap=1000), id="a note before"),
            pytest.param(gzip.compress(nifti(DATA, gap=1001)), id="an odd note before"),
        ],
    )
    def test_give_their_numbers(
        self, tmp_path: Path, libraries: Libraries, content: bytes
    ) -> None:
        assert numbers(put(tmp_path, content), libraries) == NUMBERS

    def test_random_cuts_into_members(
        self, tmp_path: Path, libraries: Libraries
    ) -> None:
        @in_one_folder
        @given(st.lists(st.integers(0, len(PLAIN)), max_size=6).map(sorted))
        def check(cuts: list[int]) -> None:
            path = put(tmp_path, members(PLAIN, *cuts))
            assert numbers(path, libraries) == NUMBERS

        check()

    def test_header_alone_is_enough_for_the_header(
        self, tmp_path: Path, libraries: Libraries
    ) -> None:
        path = put(tmp_path, PACKED[:-200])
        with path.open("rb", buffering=0) as source:
            assert NiftiFile(source, LABEL, libraries).header().shape == SHAPE


def test_what_is_too_large_for_memory_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = put(tmp_path, PACKED)
    os.truncate(path, LARGEST + 1)
    tracemalloc.start()
    try:
        assert numbers(path) == NUMBERS
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@every_library
class TestDamage:
    def test_a_member_behind_the_numbers(
        self, tmp_path: Path, libraries: Libraries
    ) -> None:
        path = put(tmp_path, PACKED + gzip.compress(b"note")[:-8] + bytes(8))
        with pytest.raises(CorruptFileError, match="the gzip stream is damaged"):
            numbers(path, libraries)

    @given(length=st.integers(0, len(PACKED) - 1))
    @in_one_folder
    def test_no_prefix_passes(
        self, tmp_path: Path, libraries: Libraries, length: int
    ) -> None:
        path = put(tmp_path, PACKED[:length])
        with pytest.raises(CorruptFileError, match=r"is (empty|cut off|not NIfTI)"):
            numbers(path, libraries)

    @given(length=st.integers(0, len(PLAIN) - 1))
    @in_one_folder
    def test_no_prefix_of_a_plain_file_passes(
        self, tmp_path: Path, libraries: Libraries, length: int
    ) -> None:
        path = put(tmp_path, PLAIN[:length])
        found = complaint(path, libraries)
        assert found is not None
        assert found == streamed_complaint(path, libraries)

    @given(bit=st.integers(10 * 8, len(PACKED) * 8 - 1))
    @in_one_folder
    def test_no_flipped_bit_changes_a_number(
        self, tmp_path: Path, libraries: Libraries, bit: int
    ) -> None:
        content = bytearray(PACKED)
        content[bit // 8] ^= 1 << bit % 8
        path = put(tmp_path, bytes(content))
        found = complaint(path, libraries)
        if found is None:
            assert numbers(path, libraries) == NUMBERS
        else:
            assert found.startswith(f"{LABEL}: ")

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(gzip.compress(PLAIN[:-1]), id="too few"),
            pytest.param(gzip.compress(PLAIN)[:-8] + bytes(8), id="no CRC"),
            pytest.param(
                gzip.compress(nifti(DATA)[:42] + b"\xff\x7f" * 2 + PLAIN[46:]),
                id="a boast",
            ),
            pytest.param(PLAIN[:42] + b"\xff\x7f" * 3 + PLAIN[48:], id="a plain boast"),
        ],
    )
    def test_takes_no_memory(
        self, tmp_path: Path, libraries: Libraries, content: bytes
    ) -> None:
        path = put(tmp_path, content)
        tracemalloc.start()
        try:
            found = complaint(path, libraries)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found is not None
        assert found == streamed_complaint(path, libraries)
        assert peak < 1 << 20

    def test_limit(self, tmp_path: Path, libraries: Libraries) -> None:
        path = put(tmp_path, PACKED)
        assert numbers(path, libraries, limit=len(PLAIN)) == NUMBERS
        with pytest.raises(CorruptFileError, match="1,696 bytes, more than 1,695"):
            numbers(path, libraries, limit=len(PLAIN) - 1)


@every_library
@pytest.mark.parametrize("behind", ["much", "another member"])
def test_a_bomb_is_not_inflated(
    tmp_path: Path, libraries: Libraries, behind: str
) -> None:
    if behind == "much":
        content = gzip.compress(PLAIN + bytes(1 << 26), mtime=0)
    else:
        content = PACKED + gzip.compress(bytes(1 << 26), mtime=0)
    path = put(tmp_path, content)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="goes on behind the 1,696 bytes"):
            numbers(path, libraries)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_an_installed_indexed_gzip_is_not_used(
    tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    put(tmp_path, PACKED)
    (tmp_path / "indexed_gzip.py").write_text(
        """
__version__ = "1.9.5"
class ZranError(Exception):
    pass
class IndexedGzipFile:
    def __init__(self, *arguments, **options):
        raise RuntimeError("slow")
"""
    )
    done = run_python(
        """
import nibabel
from intake_neurovault.nifti import Reader
path = "image_3.nii.gz"
print(Reader.parse(grid=None)(path, discrete=False, label="it").shape)
try:
    nibabel.load(path).get_fdata()
except RuntimeError as error:
    print(error)
"""
    )
    assert done.stdout.split("\n") == ["(6, 7, 8)", "slow", ""]


class TestScaling:
    @pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", "<u2", "<i4", "<f4", "<f8"])
    @pytest.mark.parametrize(
        ("slope", "inter"), [(0.0123, 0), (-3, 7.5), (1, -1e6), (1e-30, 0), (1e30, 1)]
    )
    def test_is_nibabels_to_the_last_bit(
        self, tmp_path: Path, dtype: str, slope: float, inter: float
    ) -> None:
        some = np.random.default_rng(0).integers(-128, 128, (41, 43, 29))
        path = tmp_path / "x.nii"
        path.write_bytes(nifti(some.astype(dtype), slope, inter))
        expected = np.asanyarray(nib.load(path).dataobj, dtype=np.float64)
        assert np.array_equal(read(path), expected.astype("f4"))

    def test_values_beyond_float32(self, tmp_path: Path) -> None:
        path = put(tmp_path, nifti(np.full(SHAPE, 1e30, "<f8"), 1e20))
        assert np.isposinf(read(path)).all()


class TestArrays:
    @pytest.mark.parametrize("gap", [4, 5, 6, 7])
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_numbers_may_begin_anywhere(
        self, tmp_path: Path, gap: int, pack: type
    ) -> None:
        made = read(put(tmp_path, pack(nifti(DATA, gap=gap))))
        assert np.array_equal(made, DATA)
        assert made.flags.aligned
        assert made.flags.writeable

    def test_a_signalling_nan_is_no_accident(self, tmp_path: Path) -> None:
        content = bytearray(PLAIN)
        struct.pack_into("<I", content, 352, 0x7F800001)
        path = put(tmp_path, bytes(content))
        grid = {"affine": np.diag([1.5, 1.5, 1.5, 1]), "shape": (7, 8, 9)}
        made = Reader.parse(grid=grid)(path, discrete=False, label=LABEL)
        assert np.isnan(read(path)[0, 0, 0])
        assert np.isfinite(made).any()
