"""NIfTI headers: what is read from them, what is written to them."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.headers import Encoding, Geometry, make_image, parse_header
from intake_neurovault.integrity import NiftiStream

LABEL = "image 3 (collection 1)"
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, 0.2, 0.3) * 2, [-80, -110, -60]
)
SHEARED = AFFINE + np.array([[0, 0.5, 0, 0]] + [[0, 0, 0, 0]] * 3)


def image(shape: tuple[int, ...] = (4, 5, 6)) -> nib.Nifti1Image:
    made = nib.Nifti1Image(np.zeros(shape, "f4"), AFFINE)
    made.set_sform(AFFINE, 4)
    made.set_qform(AFFINE, 1)
    return made


def forged(made: nib.Nifti1Image, **fields: object) -> bytes:
    """Set fields in the bytes themselves: saving would put them right again."""
    content = made.to_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    return bytes(header.binaryblock + content[348:])


def parsed(made: nib.Nifti1Image | bytes) -> tuple[Geometry, Encoding]:
    content = made if isinstance(made, bytes) else made.to_bytes()
    return parse_header(NiftiStream(BytesIO(content), LABEL).header(), LABEL)


class TestGeometry:
    def test_all_of_it(self) -> None:
        made = image()
        made.header.set_xyzt_units("mm", "sec")
        geometry, _ = parsed(forged(made, descrip=b"group mean\0rest"))
        assert geometry.grid.shape == (4, 5, 6)
        assert np.array_equal(geometry.grid.matrix, AFFINE)
        assert (geometry.sform_code, geometry.qform_code) == (4, 1)
        assert geometry.xyzt_units == "mm sec"
        assert geometry.description == "group mean"
        assert geometry.dtype == "float32"

    @pytest.mark.parametrize("shape", [(4, 5, 6, 1), (4, 5, 6, 1, 1), (4, 5, 6)])
    def test_trailing_dimensions_of_one_are_dropped(
        self, shape: tuple[int, ...]
    ) -> None:
        assert parsed(image(shape))[0].grid.shape == (4, 5, 6)

    def test_single_slice_is_three_dimensional(self) -> None:
        assert parsed(image((4, 5, 1)))[0].grid.shape == (4, 5, 1)

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((4, 5), r"has 2 dimensions \(4×5\)"),
            ((4,), r"has 1 dimensions \(4\)"),
            ((4, 5, 6, 2), r"has 4 dimensions \(4×5×6×2\)"),
            ((4, 5, 6, 1, 2), r"has 5 dimensions \(4×5×6×1×2\)"),
        ],
    )
    def test_what_is_not_three_dimensional(
        self, shape: tuple[int, ...], words: str
    ) -> None:
        with pytest.raises(
            GeometryError, match=rf"^image 3 \(collection 1\): .*{words}"
        ):
            parsed(image(shape))

    @pytest.mark.parametrize(
        ("sform", "qform"), [(4, 1), (0, 1), (2, 0), (0, 0)], ids=str
    )
    def test_affine_is_the_one_that_nibabel_chooses(
        self, sform: int, qform: int
    ) -> None:
        made = image()
        made.set_qform(AFFINE + np.diag([0, 1, 0, 0]), 1)
        content = forged(made, sform_code=sform, qform_code=qform)
        expected = nib.Nifti1Image.from_bytes(content).affine
        assert np.array_equal(parsed(content)[0].grid.matrix, expected)

    @pytest.mark.parametrize(
        "fields",
        [
            {"pixdim": [0, 2, 2, 2, 1, 1, 1, 1], "sform_code": 0},
            {"pixdim": [5, -2, 2, 2, 1, 1, 1, 1], "sform_code": 0},
            {"pixdim": [1, 0, 2, 2, 1, 1, 1, 1], "sform_code": 0, "qform_code": 0},
            {"sform_code": 99},
            {"bitpix": 7},
        ],
        ids=str,
    )
    def test_headers_are_mended_as_nibabel_mends_them(
        self, fields: dict[str, object], caplog: pytest.LogCaptureFixture
    ) -> None:
        content = forged(image(), **fields)
        with caplog.at_level(logging.CRITICAL, "nibabel.global"):
            expected = nib.Nifti1Image.from_bytes(content).affine
        caplog.clear()
        assert np.array_equal(parsed(content)[0].grid.matrix, expected)
        assert not caplog.records

    @pytest.mark.parametrize(
        "fields",
        [
            {"srow_x": [0, 0, 0, 0]},
            {"srow_x": [np.nan] * 4},
            {"srow_y": [1e38] * 4},
            {"sform_code": 0, "quatern_b": 2},
            {"sform_code": 0, "qoffset_x": np.inf},
        ],
        ids=str,
    )
    def test_affines_without_use(self, fields: dict[str, object]) -> None:
        with pytest.raises(
            GeometryError, match=r"^image 3 .*the header has no usable affine"
        ):
            parsed(forged(image(), **fields))

    def test_unknown_units(self) -> None:
        assert parsed(forged(image(), xyzt_units=99))[0].xyzt_units == "unknown unknown"

    def test_second_version(self) -> None:
        made = nib.Nifti2Image(np.zeros((4, 5, 6), "i2"), AFFINE)
        geometry, _ = parsed(made)
        assert np.array_equal(geometry.grid.matrix, AFFINE)
        assert geometry.dtype == "int16"


class TestEncoding:
    @pytest.mark.parametrize(
        ("slope", "intercept", "expected"),
        [
            (0.5, -3, (0.5, -3)),
            (0, 7, (1, 0)),
            (np.nan, 7, (1, 0)),
            (np.inf, 7, (1, 0)),
        ],
    )
    def test_scaling(
        self, slope: float, intercept: float, expected: tuple[float, float]
    ) -> None:
        content = forged(image(), scl_slope=slope, scl_inter=intercept)
        encoding = parsed(content)[1]
        assert (encoding.slope, encoding.intercept) == expected

    def test_byte_order(self) -> None:
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(">f8")
        made = nib.Nifti1Image(np.zeros((4, 5, 6)), AFFINE, header)
        assert parsed(made)[1].dtype == np.dtype(">f8")


class TestMakeImage:
    @pytest.mark.parametrize("affine", [AFFINE, OBLIQUE, SHEARED])
    @pytest.mark.parametrize(("sform", "qform"), [(4, 1), (0, 1), (3, 0), (0, 0)])
    def test_survives_the_file(
        self, tmp_path: Path, affine: np.ndarray, sform: int, qform: int
    ) -> None:
        data = np.random.default_rng(0).normal(size=(4, 5, 6)).astype("f4")
        made = make_image(
            data,
            affine,
            sform_code=sform,
            qform_code=qform,
            xyzt_units="mm sec",
            description="mean of 20 maps",
        )
        path = tmp_path / "x.nii.gz"
        nib.save(made, path)
        again = nib.load(path)
        assert again.get_data_dtype() == np.float32
        assert np.array_equal(np.asanyarray(again.dataobj), data)
        np.testing.assert_allclose(again.affine, affine, rtol=0, atol=1e-4)
        assert again.header.get_xyzt_units() == ("mm", "sec")
        assert again.header["descrip"].item() == b"mean of 20 maps"
        assert int(again.header["qform_code"]) == qform

    def test_codes_are_kept_where_they_hold_the_affine(self) -> None:
        made = make_image(
            np.zeros((4, 5, 6)),
            AFFINE,
            sform_code=0,
            qform_code=1,
            xyzt_units="mm unknown",
            description="",
        )
        assert made.get_sform(coded=True)[1] == 0

    def test_sform_is_written_where_nothing_else_holds_the_affine(self) -> None:
        made = make_image(
            np.zeros((4, 5, 6)),
            SHEARED,
            sform_code=0,
            qform_code=1,
            xyzt_units="mm unknown",
            description="",
        )
        assert made.get_sform(coded=True)[1] == 2

    @pytest.mark.parametrize(
        ("dtype", "stored"),
        [
            ("f4", "f4"),
            ("f8", "f8"),
            ("f2", "f4"),
            ("?", "u1"),
            ("i1", "i1"),
            ("u2", "u2"),
            ("i8", "i4"),
            ("u8", "u4"),
            ("c8", "c8"),
            (">f4", "f4"),
            (">i2", "i2"),
        ],
    )
    def test_types(self, dtype: str, stored: str) -> None:
        made = make_image(
            np.ones((2, 2, 2, 3), dtype),
            AFFINE,
            sform_code=4,
            qform_code=0,
            xyzt_units="mm sec",
            description="",
        )
        assert made.shape == (2, 2, 2, 3)
        assert made.get_data_dtype() == np.dtype(stored)

    @pytest.mark.parametrize(
        ("dtype", "numbers"), [("i8", [-(2**40), 2**31]), ("u8", [0, 2**63])]
    )
    def test_large_integers_keep_their_type(
        self, dtype: str, numbers: list[int]
    ) -> None:
        data = np.array(numbers, dtype).reshape(2, 1, 1)
        made = make_image(
            data,
            AFFINE,
            sform_code=4,
            qform_code=0,
            xyzt_units="mm sec",
            description="",
        )
        assert made.get_data_dtype() == np.dtype(dtype)
        again = nib.Nifti1Image.from_bytes(made.to_bytes())
        np.testing.assert_array_equal(again.dataobj, data)

    def test_an_axis_too_long_for_the_first_version(self) -> None:
        made = make_image(
            np.zeros((1, 1, 1, 40_000), "u1"),
            AFFINE,
            sform_code=4,
            qform_code=0,
            xyzt_units="mm sec",
            description="",
        )
        assert type(made) is nib.Nifti2Image
        assert made.shape == (1, 1, 1, 40_000)

    def test_long_foreign_description(self) -> None:
        made = make_image(
            np.ones((2, 2, 2)),
            AFFINE,
            sform_code=4,
            qform_code=0,
            xyzt_units="mm sec",
            description="café ☕ " * 20,
        )
        stored = made.header["descrip"].item()
        assert len(stored) == 80
        assert stored.startswith("café ? ".encode("latin-1"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"sform_code": 77},
            {"qform_code": -1},
            {"xyzt_units": "parsec"},
            {"xyzt_units": "mm sec sec"},
        ],
        ids=str,
    )
    def test_unknown_codes(self, wrong: dict[str, object]) -> None:
        usual = {
            "sform_code": 4,
            "qform_code": 0,
            "xyzt_units": "mm sec",
            "description": "",
        }
        with pytest.raises(ArgumentError, match="is unknown to NIfTI"):
            make_image(np.zeros((2, 2, 2)), AFFINE, **{**usual, **wrong})
