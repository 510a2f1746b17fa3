"""Maps on a grid as files: their names, what tools see, what is not believed."""

from __future__ import annotations

from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import COARSE, FLIPPED, OBLIQUE
from nilearn.image import load_img

from intake_neurovault.grid import GRIDS, Grid
from intake_neurovault.gridded_files import (
    Content,
    Origin,
    Rules,
    checksum,
    encode,
    is_whole,
    read_content,
)
from intake_neurovault.nifti import Reader, make_image
from intake_neurovault.receipts import Entry
from intake_neurovault.records import ImageFile

FILE = ImageFile(3, 12, "/media/images/12/m%20ä.nii.gz", 1024, "2024-05-01T12:00:00Z")
ORIGIN = Origin(Entry(1000, 17, "ab" * 32, FILE, 1024, 1.5), 0.75)
LABEL = "NeuroVault image 3 (collection 12)"


def rules_of(grid: Any = COARSE, **more: Any) -> Rules:
    found = Rules.of(Reader.parse(grid=grid, **more), discrete=False)
    assert found is not None
    return found


def values(grid: Grid = COARSE) -> Any:
    found = np.random.default_rng(3).standard_normal(grid.shape, dtype="f4")
    found[0, 0, 0], found[1, 0, 0], found[2, 0, 0] = np.nan, -0.0, np.inf
    return found


def write(root: Path, rules: Rules, data: Any = None, origin: Origin = ORIGIN) -> Path:
    path = root / rules.path(12, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = values(rules.grid) if data is None else data
    path.write_bytes(encode(rules, origin, data, LABEL))
    return path


def read(path: Path) -> Content | None:
    with FileIO(path) as file:
        return read_content(file, path.stat().st_size)


# ---- names -------------------------------------------------------------------------


readers = st.builds(
    Reader,
    st.sampled_from([COARSE, FLIPPED, OBLIQUE, *GRIDS.values()])
    | st.builds(
        Grid,
        st.floats(-50, 50).map(
            lambda x: (
                3.0,
                0.0,
                0.0,
                x,
                0.0,
                3.0,
                0.0,
                0.0,
                0.0,
                0.0,
                3.0,
                0,
                0,
                0,
                0,
                1,
            )
        ),
        st.tuples(*[st.integers(1, 90)] * 3),
    ),
    st.sampled_from(["auto", "continuous", "linear", "nearest"]),
    st.sampled_from(["keep", "zero"]),
    st.floats(width=32),
)


@given(readers, readers, st.booleans(), st.booleans())
def test_equal_rules_have_one_folder_and_others_another(
    one: Reader, two: Reader, first: bool, second: bool
) -> None:
    def identity(reader: Reader, discrete: bool) -> tuple[Any, ...]:
        fill = str(reader.fill_value)
        return (reader.grid, reader.method(discrete), reader.nan, fill)

    folders = [Rules.of(one, first), Rules.of(two, second)]
    same = identity(one, first) == identity(two, second)
    assert (folders[0].folder == folders[1].folder) == same
    assert (folders[0] == folders[1]) == same


@given(readers, st.booleans())
def test_rules_are_written_down_and_read(reader: Reader, discrete: bool) -> None:
    rules = Rules.of(reader, discrete)
    assert Rules.from_json(rules.to_json()) == rules
    assert Rules.from_json(rules.to_json()).folder == rules.folder


def test_names_are_for_people_too() -> None:
    assert (
        rules_of("mni152-2mm")
        .path(12, 3)
        .startswith(".intake_neurovault/gridded/mni152-2mm_continuous_")
    )
    nameless = Grid(GRIDS["mni152-3mm"].affine, (61, 73, 61))
    assert rules_of(nameless) == rules_of("mni152-3mm")
    assert rules_of(nameless).folder == rules_of("mni152-3mm").folder
    assert rules_of(OBLIQUE, interpolation="linear").folder.startswith("grid_linear_")


@pytest.mark.parametrize(
    "grid", [None, "template.nii.gz", Grid(COARSE.affine, (40_000, 1, 1))]
)
def test_grids_that_no_file_can_be_for(grid: Any) -> None:
    assert Rules.of(Reader.parse(grid=grid), discrete=False) is None


@pytest.mark.parametrize("change", [{"nan": "none"}, {"grid": None}, {"grid": 3}])
def test_what_is_no_rules(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no rules|nan='none' is unknown"):
        Rules.from_json(rules_of().to_json() | change)


# ---- what tools see ----------------------------------------------------------------


@pytest.mark.parametrize("grid", [COARSE, FLIPPED, OBLIQUE, GRIDS["mni152-3mm"]])
def test_any_tool_opens_a_file(grid: Grid, tmp_path: Path) -> None:
    path = write(tmp_path, rules_of(grid))
    image = nib.load(path)
    np.testing.assert_allclose(image.affine, grid.matrix, atol=1e-5)
    assert image.shape == grid.shape
    assert image.get_data_dtype() == np.float32
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.get_sform(coded=True)[1] == 2
    assert image.get_qform(coded=True)[1] == (2 if grid.axis_aligned else 0)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
    about = image.header["descrip"].item().decode("latin-1")
    assert about.startswith("NeuroVault image 3 (collection 12), on ")
    mapped = np.asanyarray(image.dataobj)
    assert isinstance(mapped, np.memmap)
    assert mapped.tobytes("F") == values(grid).tobytes("F")
    np.testing.assert_array_equal(load_img(str(path)).get_fdata(), values(grid))
    [extension] = image.header.extensions
    assert extension.json()["software"] == "intake_neurovault"


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    rules = rules_of(fill_value="nan", nan="zero")
    found = read(write(tmp_path, rules))
    assert found is not None
    assert (found.rules, found.origin) == (rules, ORIGIN)
    assert found.offset % 16 == 0
    assert is_whole(tmp_path / rules.path(12, 3))


def test_a_long_url_has_room(tmp_path: Path) -> None:
    file = replace(FILE, path="/media/" + "x" * 9000)
    origin = replace(ORIGIN, source=replace(ORIGIN.source, file=file))
    found = read(write(tmp_path, rules_of(), origin=origin))
    assert found is not None
    assert found.origin == origin


def test_a_source_that_nothing_names(tmp_path: Path) -> None:
    origin = Origin(Entry(1000, 17, "ab" * 32), 1.0)
    found = read(write(tmp_path, rules_of(), origin=origin))
    assert found is not None
    assert found.origin.source.file is None


@given(st.binary(min_size=1, max_size=40).map(lambda data: data * 4))
def test_a_checksum_changes_with_any_byte(data: bytes) -> None:
    other = bytes([data[0] ^ 1]) + data[1:]
    assert checksum(memoryview(data)) == checksum(data) != checksum(other)


# ---- what is not believed ----------------------------------------------------------


def cut(data: bytes) -> bytes:
    return data[:-4]


def lengthened(data: bytes) -> bytes:
    return data + b"\0" * 4


def emptied(data: bytes) -> bytes:
    return b""


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def garbled(data: bytes) -> bytes:
    return b"\xff" * 64 + data[64:]


def reshaped(data: bytes) -> bytes:
    return data[:42] + data[44:46] + data[42:44] + data[46:]


def unexplained(data: bytes) -> bytes:
    return data[:360] + b"[]".ljust(300) + data[660:]


def of_another_format(data: bytes) -> bytes:
    return data.replace(b'"format": 1', b'"format": 0', 1)


def of_other_rules(data: bytes) -> bytes:
    return data.replace(b'"nan": "keep"', b'"nan": "zero"', 1)


def foreign(data: bytes) -> bytes:
    image = make_image(
        values(), COARSE.matrix, sform_code=2, qform_code=2, xyzt_units="mm",
        description="",
    )  # fmt: skip
    return image.to_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        lengthened,
        emptied,
        zeroed,
        garbled,
        reshaped,
        unexplained,
        foreign,
        of_another_format,
    ],
)
def test_what_is_damaged_is_not_believed(spoil: Any, tmp_path: Path) -> None:
    path = write(tmp_path, rules_of())
    path.write_bytes(spoil(path.read_bytes()))
    assert read(path) is None
    assert not is_whole(path)


def test_values_that_were_zeroed_are_found_at_the_end(tmp_path: Path) -> None:
    path = write(tmp_path, rules_of())
    data = path.read_bytes()
    path.write_bytes(data[:-8192] + bytes(8192))
    assert read(path) is not None
    assert not is_whole(path)


def test_a_file_of_other_rules_is_not_whole_in_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, rules_of())
    path.write_bytes(of_other_rules(path.read_bytes()))
    assert read(path) is not None
    assert not is_whole(path)
