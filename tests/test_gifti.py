"""GIFTI files: what is whole is read as nibabel reads it, all else is refused."""

from __future__ import annotations

import base64
import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage
from numpy.typing import NDArray

from intake_neurovault.errors import CorruptFileError
from intake_neurovault.gifti import MAX_GIFTI_BYTES, check_gifti, read_gifti
from intake_neurovault.testing import gifti_bytes

NAME = "left surface of image 3 (collection 1)"
ENCODINGS = ["GIFTI_ENCODING_ASCII", "GIFTI_ENCODING_B64BIN", "GIFTI_ENCODING_B64GZ"]
VALUES = np.linspace(-3, 3, 642, dtype="f4")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "map.func.gii"
    path.write_bytes(content)
    return path


def document(array: str, declared: str = "") -> bytes:
    """A GIFTI file with one array that is written by hand."""
    text = f'<?xml version="1.0"?>{declared}<GIFTI Version="1.0">{array}</GIFTI>'
    return text.encode()


def one_array(data: str, encoding: str = "ASCII", count: int = 3, **more: str) -> str:
    given = {
        "DataType": "NIFTI_TYPE_FLOAT32",
        "Dimensionality": "1",
        "Dim0": str(count),
        "Encoding": encoding,
        "Endian": "LittleEndian",
        "ArrayIndexingOrder": "RowMajorOrder",
    } | more
    said = " ".join(f'{name}="{value}"' for name, value in given.items() if value)
    return f"<DataArray {said}><Data>{data}</Data></DataArray>"


def refused(folder: Path, content: bytes, **limits: int) -> str:
    path = written(folder, content)
    with pytest.raises(CorruptFileError, match=r"^left surface of image 3") as caught:
        check_gifti(path, label=NAME, **limits)
    return str(caught.value).removeprefix(f"{NAME}: ")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["f4", "i4", "u1"])
def test_files_are_read_as_nibabel_reads_them(
    tmp_path: Path, encoding: str, dtype: str
) -> None:
    values = np.arange(642).astype(dtype)
    path = written(tmp_path, gifti_bytes(values, "left", encoding))
    facts = check_gifti(path, label=NAME)
    assert facts.size == path.stat().st_size
    assert not facts.gzipped
    (found,) = read_gifti(path, label=NAME)
    (theirs,) = nibabel.load(path).darrays
    np.testing.assert_array_equal(found, theirs.data)
    assert found.dtype == np.dtype(dtype)


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=2),
    order=st.sampled_from(["C", "F"]),
    encoding=st.sampled_from(ENCODINGS),
    big=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_order_and_shape_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    shape: list[int],
    order: str,
    encoding: str,
    big: bool,
    seed: int,
) -> None:
    if encoding == "GIFTI_ENCODING_ASCII":
        order = "C"  # of text in columns, nibabel writes rows
    values = np.random.default_rng(seed).integers(-99, 99, shape).astype("i4")
    array = GiftiDataArray(
        values, encoding=encoding, endian="big" if big else "little", ordering=order
    )
    content = GiftiImage(darrays=[array, array]).to_bytes()
    path = written(tmp_path_factory.mktemp("gifti"), content)
    for found, theirs in zip(
        read_gifti(path, label=NAME), nibabel.load(path).darrays, strict=True
    ):
        np.testing.assert_array_equal(found, theirs.data)


def test_gzip_in_place_of_zlib_is_read(tmp_path: Path) -> None:
    data = base64.b64encode(gzip.compress(VALUES.tobytes())).decode()
    array = one_array(f"\n {data} \n", "GZipBase64Binary", len(VALUES))
    (found,) = read_gifti(written(tmp_path, document(array)), label=NAME)
    np.testing.assert_array_equal(found, VALUES)


def packed(values: NDArray[Any], **more: Any) -> str:
    data = base64.b64encode(zlib.compress(values.tobytes())).decode()
    return one_array(data, "GZipBase64Binary", **{"count": len(values), **more})


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (one_array("1 2"), "an array declares 3 numbers and holds 2"),
        (one_array("1 2 3 4"), "an array declares 3 numbers and holds more"),
        (one_array("1 2 x"), "could not convert string to float: 'x'"),
        (one_array("AAAA", "Base64Binary"), "declares 3 numbers and holds 0"),
        (one_array("A*AA", "Base64Binary"), "an array is damaged"),
        (packed(VALUES, count=641), "declares 641 numbers and holds more"),
        (packed(VALUES, count=643), "declares 643 numbers and holds 642"),
        (one_array("AAAA", "GZipBase64Binary"), "an array is damaged"),
        (one_array("", "ExternalFileBinary"), "encoded as ExternalFileBinary, which"),
        (one_array("1 2 3", DataType="NIFTI_TYPE_RGB24"), "unknown type of numbers"),
        (one_array("1 2 3", DataType=""), "an array does not say its DataType"),
        (one_array("1 2 3", Dim0="0"), "impossible dimensions"),
        (one_array("1 2 3", Dimensionality="2"), "does not say its Dim1"),
        (one_array("1 2 3", Dim0="many"), "invalid literal for int"),
        (one_array("300 1 2", DataType="NIFTI_TYPE_UINT8"), "300"),
        (one_array("1 2 3").replace("Data>", "Other>"), "an array holds no numbers"),
        ("", "the file holds no array"),
    ],
)
def test_arrays_that_are_not_what_they_declare(
    tmp_path: Path, array: str, reason: str
) -> None:
    assert reason in refused(tmp_path, document(array))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><body>Down<br></html>", "looks like an HTML page"),
        (b"<html><body>Sign in</body></html>", "looks like an HTML page"),
        (b"<svg></svg>", "looks like XML of another kind (<svg>)"),
        (b'{"detail": "Not found."}', "looks like a JSON text"),
        (b"\x00\x00\x00\x01\x00\x02", "a FreeSurfer file (.mgh), which was never"),
        (b"\xff\xff\xff\x00\x02", "a FreeSurfer file (.curv), which was never"),
        (gzip.compress(b"<GIFTI/>"), "looks like gzipped twice"),
        (b'<?xml version="1.0" encoding="none-such"?><GIFTI/>', "unknown encoding"),
        (gifti_bytes(VALUES)[:-9], "the file is not whole XML, as GIFTI is"),
        (gifti_bytes(VALUES)[:900], "the file is not whole XML, as GIFTI is"),
        (gifti_bytes(VALUES) + b"<p>", "the file is not whole XML, as GIFTI is"),
    ],
)
def test_files_that_are_not_gifti(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refused(tmp_path, content)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    content = gifti_bytes(VALUES[:42]).rstrip()
    for end in range(0, len(content), 37):
        refused(tmp_path, content[:end])


def test_a_flipped_bit_in_the_numbers_does_not_pass_for_whole(tmp_path: Path) -> None:
    # NOTE: what is not compressed has no checksum; NeuroVault compresses.
    content = gifti_bytes(VALUES)
    start = content.index(b"<Data>") + 40
    for place in range(start, start + 400, 23):
        flipped = bytearray(content)
        flipped[place] ^= 1
        refused(tmp_path, bytes(flipped))


ENTITIES = '<!DOCTYPE GIFTI [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;">]>'


def test_bombs_are_refused_before_they_burst(tmp_path: Path) -> None:
    assert "declares XML entities" in refused(
        tmp_path, document(one_array("&b;"), ENTITIES)
    )
    zeros = base64.b64encode(zlib.compress(bytes(1 << 26), 9)).decode()
    said = refused(tmp_path, document(one_array(zeros, "GZipBase64Binary")))
    assert said == "an array declares 3 numbers and holds more"
    much = one_array("1", count=MAX_GIFTI_BYTES)
    assert "which is too much" in refused(tmp_path, document(much))
    many = one_array("1 2 3") * 20_000
    assert "which is too much" in refused(tmp_path, document(many))
    content = gifti_bytes(VALUES)
    said = refused(tmp_path, content, limit=1000)
    assert said == "the file has more than 1,000 bytes"


def test_nibabels_document_type_is_no_entity(tmp_path: Path) -> None:
    declared = (
        '<!DOCTYPE GIFTI SYSTEM "http://www.nitrc.org/frs/download.php/115/gifti.dtd">'
    )
    path = written(tmp_path, document(one_array("1 2 3"), declared))
    (found,) = read_gifti(path, label=NAME)
    assert found.tolist() == [1, 2, 3]
