"""Whole-file checks of NIfTI files, on real files in every state of decay."""

from __future__ import annotations

import gzip
import hashlib
import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.integrity import NiftiStream
from intake_neurovault.wholeness import check_file, compress_file

LABEL = "image 3 (collection 1)"
SHAPE = (6, 7, 8)

in_one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def nifti(kind: type = nib.Nifti1Image, dtype: str = "<f4", order: str = "<") -> bytes:
    data = np.random.default_rng(0).normal(size=SHAPE).astype(dtype)
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype))
    return bytes(kind(data, np.eye(4), header).to_bytes())


PLAIN = nifti()
PACKED = gzip.compress(PLAIN, mtime=0)


def put(folder: Path, content: bytes) -> Path:
    path = folder / "image_3.nii.gz"
    path.write_bytes(content)
    return path


def problem(path: Path) -> str | None:
    try:
        check_file(path, label=LABEL)
    except CorruptFileError as error:
        return str(error)
    return None


def patched(fmt: str, offset: int, *values: float, whole: bytes = PLAIN) -> bytes:
    content = bytearray(whole)
    struct.pack_into(fmt, content, offset, *values)
    return bytes(content)


def members(content: bytes, *cuts: int) -> bytes:
    edges = [0, *cuts, len(content)]
    return b"".join(gzip.compress(content[i:j], mtime=0) for i, j in pairwise(edges))


class TestWholeFiles:
    @pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i2", "|u1", ">f4", ">i4", "<c8"])
    @pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
    def test_both_versions_and_byte_orders(
        self, tmp_path: Path, kind: type, dtype: str
    ) -> None:
        content = gzip.compress(
            nifti(kind, dtype, ">" if dtype[0] == ">" else "<"), mtime=0
        )
        facts = check_file(put(tmp_path, content), label=LABEL)
        assert facts.size == len(content)
        assert facts.sha256 == hashlib.sha256(content).hexdigest()
        assert facts.gzipped

    def test_plain_file_under_a_gzip_name(self, tmp_path: Path) -> None:
        facts = check_file(put(tmp_path, PLAIN), label=LABEL)
        assert facts.size == len(PLAIN)
        assert facts.sha256 == hashlib.sha256(PLAIN).hexdigest()
        assert not facts.gzipped

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(members(PLAIN, 500), id="two members"),
            pytest.param(members(PLAIN, 1, 2, 348, 352), id="cut in the header"),
            pytest.param(members(PLAIN, 600, 600), id="an empty member"),
            pytest.param(PACKED + bytes(700_000), id="zeros behind"),
            pytest.param(
                gzip.compress(PLAIN[:500], mtime=0)
                + bytes(9)
                + gzip.compress(PLAIN[500:], mtime=0),
                id="zeros between",
            ),
            pytest.param(
                gzip.compress(PLAIN + b"note" * 100, mtime=0), id="a note behind"
            ),
            pytest.param(PLAIN + b"note" * 100, id="a note behind a plain file"),
        ],
    )
    def test_what_is_tolerated(self, tmp_path: Path, content: bytes) -> None:
        facts = check_file(put(tmp_path, content), label=LABEL)
        assert facts.sha256 == hashlib.sha256(content).hexdigest()

    def test_extensions_before_the_numbers(self, tmp_path: Path) -> None:
        image = nib.Nifti1Image(np.zeros(SHAPE, "f4"), np.eye(4))
        note = nib.nifti1.Nifti1Extension("comment", b"written by AFNI" * 9)
        image.header.extensions.append(note)
        path = tmp_path / "x.nii.gz"
        nib.save(image, path)
        assert check_file(path, label=LABEL).gzipped

    def test_offset_zero_stands_for_the_usual_one(self, tmp_path: Path) -> None:
        check_file(put(tmp_path, patched("<f", 108, 0)), label=LABEL)
        cut = patched("<f", 108, 0)[:-1]
        with pytest.raises(CorruptFileError, match="ends after 1,695 of 1,696 bytes"):
            check_file(put(tmp_path, cut), label=LABEL)

    def test_random_cuts_into_members(self, tmp_path: Path) -> None:
        @in_one_folder
        @given(st.lists(st.integers(0, len(PLAIN)), max_size=6).map(sorted))
        def check(cuts: list[int]) -> None:
            facts = check_file(put(tmp_path, members(PLAIN, *cuts)), label=LABEL)
            assert facts.gzipped

        check()


class TestDamage:
    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (b"", "the file is empty"),
            (gzip.compress(b"", mtime=0), "the file is empty"),
            (b"<!DOCTYPE html>\n<title>Error 500</title>", "looks like an HTML or XML"),
            (b"\n  <html>" + b" " * 9000, "looks like an HTML or XML"),
            (gzip.compress(b"<html>busy</html>", mtime=0), "looks like an HTML or XML"),
            (b'{"detail": "Not found."}', "looks like a JSON text"),
            (gzip.compress(PACKED, mtime=0), "looks like gzipped twice"),
            (b"PK\x03\x04" + bytes(999), "looks like a zip archive"),
            (b"not an image", "is not NIfTI, or its header is cut off"),
            (bytes(9999), "is not NIfTI, or its header is cut off"),
            (PLAIN[:200], "is not NIfTI, or its header is cut off"),
            (nifti(nib.Nifti2Image)[:400], "its header is cut off"),
            (PLAIN[:348], "ends after 348 of 1,696 bytes"),
            (PLAIN[:-1], "ends after 1,695 of 1,696 bytes"),
            (gzip.compress(PLAIN[:-1], mtime=0), "ends after 1,695 of 1,696 bytes"),
            (PACKED[:1], "is not NIfTI"),
            (PACKED[:10], "is cut off, its gzip stream has no end"),
            (PACKED[:-9], "is cut off, its gzip stream has no end"),
            (PACKED[:-1], "is cut off, its gzip stream has no end"),
            (members(PLAIN, 800)[:-1], "is cut off, its gzip stream has no end"),
            (PACKED + PACKED[:30], "is cut off, its gzip stream has no end"),
            (PACKED + b"<html>", "bytes that are not gzip follow"),
            (PACKED + bytes(70_000) + b"x", "bytes that are not gzip follow"),
            (PACKED + b"\x1f", "bytes that are not gzip follow"),
            (PACKED[:-8] + bytes(4) + PACKED[-4:], "the gzip stream is damaged"),
            (PACKED[:-4] + bytes(4), "the gzip stream is damaged"),
            (PLAIN + bytes(1 << 20) + b"x", "goes on behind the 1,696 bytes"),
            (
                gzip.compress(PLAIN + bytes(1 << 21), mtime=0),
                "goes on behind the 1,696 bytes",
            ),
        ],
    )
    def test_is_named(self, tmp_path: Path, content: bytes, match: str) -> None:
        path = put(tmp_path, content)
        with pytest.raises(
            CorruptFileError, match=rf"^image 3 \(collection 1\): .*{match}"
        ):
            check_file(path, label=LABEL)

    @given(length=st.integers(0, len(PACKED) - 1))
    @in_one_folder
    def test_no_prefix_passes(self, tmp_path: Path, length: int) -> None:
        with pytest.raises(CorruptFileError, match=r"is (empty|cut off|not NIfTI)"):
            check_file(put(tmp_path, PACKED[:length]), label=LABEL)

    @given(bit=st.integers(10 * 8, len(PACKED) * 8 - 1))
    @in_one_folder
    def test_no_flipped_bit_changes_a_number(self, tmp_path: Path, bit: int) -> None:
        content = bytearray(PACKED)
        content[bit // 8] ^= 1 << bit % 8
        path = put(tmp_path, bytes(content))
        # The bits that fill up the last byte before the CRC mean nothing.
        complaint = problem(path)
        if complaint is None:
            assert gzip.decompress(path.read_bytes()) == PLAIN
        else:
            assert complaint.startswith(LABEL)

    def test_most_flipped_bits_are_found(self, tmp_path: Path) -> None:
        found = 0
        for byte in range(10, len(PACKED)):
            content = bytearray(PACKED)
            content[byte] ^= 16
            found += problem(put(tmp_path, bytes(content))) is not None
        assert found >= len(PACKED) - 11

    def test_missing_file_is_not_called_corrupt(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no_such_file"):
            check_file(tmp_path / "no_such_file", label=LABEL)


TWO = nifti(nib.Nifti2Image)


class TestHostileHeaders:
    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (patched("<h", 40, 0), "impossible dimensions"),
            (patched("<h", 40, -3), "impossible dimensions"),
            (patched("<h", 40, 8), "impossible dimensions"),
            (patched("<h", 40, 300), "impossible dimensions"),
            (patched("<h", 42, 0), "impossible dimensions"),
            (patched("<h", 46, -8), "impossible dimensions"),
            (patched("<8h", 40, 7, *[32767] * 7), "declares .* bytes, more than"),
            (patched("<h", 42, 32767), "ends after 1,696 of 7,340,160 bytes"),
            (patched("<h", 70, 0), r"unknown type of numbers \(0\)"),
            (patched("<h", 70, 1), r"unknown type of numbers \(1\)"),
            (patched("<h", 70, -77), r"unknown type of numbers \(-77\)"),
            (patched("<f", 108, float("nan")), "begin at byte nan"),
            (patched("<f", 108, float("inf")), "begin at byte inf"),
            (patched("<f", 108, -352), "begin at byte -352"),
            (patched("<f", 108, 12), "begin at byte 12"),
            (patched("<f", 108, 1e30), "begin at byte 1e[+]30"),
            (patched("<f", 108, 1e12), "declares .* bytes, more than"),
            (patched("<4s", 344, b"ni1"), "one half of a NIfTI pair"),
            (patched("<4s", 344, b"n+2"), "no NIfTI mark"),
            (patched("<4s", 344, b""), "no NIfTI mark"),
            (patched("<i", 0, 349), "is not NIfTI"),
            (patched("<q", 16, -1, whole=TWO), "impossible dimensions"),
            (patched("<q", 24, 1 << 62, whole=TWO), "declares .* bytes, more than"),
            (patched("<q", 168, -1, whole=TWO), "begin at byte -1"),
            (patched("<q", 168, (1 << 63) - 1, whole=TWO), "begin at byte 9.22"),
            (patched("<4s", 4, b"ni2", whole=TWO), "one half of a NIfTI pair"),
        ],
    )
    def test_is_named(self, tmp_path: Path, content: bytes, match: str) -> None:
        with pytest.raises(CorruptFileError, match=match):
            check_file(put(tmp_path, content), label=LABEL)

    @given(offset=st.integers(0, 600), junk=st.binary(min_size=1, max_size=16))
    @pytest.mark.parametrize("whole", [PLAIN, TWO], ids=["NIfTI-1", "NIfTI-2"])
    @in_one_folder
    def test_junk_in_the_header_never_raises_anything_else(
        self, tmp_path: Path, whole: bytes, offset: int, junk: bytes
    ) -> None:
        content = whole[:offset] + junk + whole[offset + len(junk) :]
        complaint = problem(put(tmp_path, content))
        assert complaint is None or complaint.startswith(LABEL)

    def test_limit(self, tmp_path: Path) -> None:
        path = put(tmp_path, PACKED)
        assert check_file(path, label=LABEL, limit=1696).gzipped
        with pytest.raises(CorruptFileError, match="1,696 bytes, more than 1,695"):
            check_file(path, label=LABEL, limit=1695)


class TestMemory:
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(
                lambda: gzip.compress(PLAIN + bytes(1 << 26), mtime=0), id="bomb"
            ),
            pytest.param(
                lambda: PACKED + gzip.compress(bytes(1 << 26), mtime=0), id="second"
            ),
            pytest.param(
                lambda: gzip.compress(patched("<3h", 42, 300, 300, 200), mtime=0),
                id="boast",
            ),
        ],
    )
    def test_is_bounded(self, tmp_path: Path, make: Callable[[], bytes]) -> None:
        path = put(tmp_path, make())
        tracemalloc.start()
        try:
            with pytest.raises(CorruptFileError, match=r"goes on behind|ends after"):
                check_file(path, label=LABEL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20

    def test_is_bounded_on_a_big_whole_file(self, tmp_path: Path) -> None:
        big = nib.Nifti1Image(np.zeros((300, 300, 150), "f4"), np.eye(4))
        path = tmp_path / "big.nii.gz"
        path.write_bytes(gzip.compress(big.to_bytes(), 1))
        tracemalloc.start()
        try:
            check_file(path, label=LABEL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20


class TestStream:
    @pytest.mark.parametrize("content", [PLAIN, PACKED, members(PLAIN, 5, 400)])
    @pytest.mark.parametrize("step", [1, 7, 352, 10_000])
    def test_pieces_make_the_whole(
        self, tmp_path: Path, content: bytes, step: int
    ) -> None:
        with put(tmp_path, content).open("rb") as source:
            stream = NiftiStream(source, LABEL)
            pieces = []
            while piece := stream.read(step):
                pieces.append(piece)
        assert b"".join(pieces) == PLAIN
        assert {len(piece) for piece in pieces[:-1]} <= {step}

    def test_numbers_are_those_behind_the_offset(self, tmp_path: Path) -> None:
        with put(tmp_path, PACKED).open("rb") as source:
            stream = NiftiStream(source, LABEL)
            header = stream.header()
            numbers = stream.numbers(header)
        assert header.shape == SHAPE
        assert header.end == len(PLAIN)
        assert numbers == PLAIN[header.offset :]

    @pytest.mark.parametrize(
        ("content", "match"),
        [
            (PACKED[:-8] + bytes(8), "damaged"),
            (gzip.compress(PLAIN[:-1], mtime=0), "ends after 1,695 of 1,696"),
            (patched("<8h", 40, 7, *[32767] * 7), "more than 4,294,967,296"),
        ],
    )
    def test_numbers_are_checked(
        self, tmp_path: Path, content: bytes, match: str
    ) -> None:
        with put(tmp_path, content).open("rb") as source:
            stream = NiftiStream(source, LABEL)
            header = stream.header()
            with pytest.raises(CorruptFileError, match=match):
                stream.numbers(header)


class TestCompress:
    def test_equal_bytes_give_equal_bytes(self, tmp_path: Path) -> None:
        source = tmp_path / "served.nii"
        source.write_bytes(PLAIN)
        first, second = tmp_path / "a.nii.gz", tmp_path / "b.part"
        compress_file(source, first)
        compress_file(source, second)
        assert first.read_bytes() == second.read_bytes()
        assert gzip.decompress(first.read_bytes()) == PLAIN
        assert check_file(first, label=LABEL).gzipped

    def test_header_holds_neither_name_nor_time(self, tmp_path: Path) -> None:
        source = tmp_path / "served.nii"
        source.write_bytes(PLAIN)
        target = tmp_path / "x.nii.gz"
        compress_file(source, target)
        flags, moment = struct.unpack_from("<BI", target.read_bytes(), 3)
        assert (flags, moment) == (0, 0)
