"""``engine="nifti"``: files to Datasets, and back to files that other programs read."""

from __future__ import annotations

import base64
import gzip
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import dask
import nibabel
import nilearn.image
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import write_values
from numpy.typing import NDArray

import intake_neurovault
from intake_neurovault.engine import NiftiBackendEntrypoint
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    GeometryError,
    NeuroVaultWarning,
)
from intake_neurovault.testing import NeuroVaultServer, Volume

with warnings.catch_warnings():
    # What SWIG makes is deprecated in newer Pythons.
    warnings.simplefilter("ignore", DeprecationWarning)
    import SimpleITK

open_nifti: Callable[..., xr.Dataset] = partial(xr.open_dataset, engine="nifti")

HOME = 20
IMAGES = range(2001, 2023)
FACTS = ("sform_code", "qform_code", "xyzt_units", "descrip", "intent_code")
"""What an image must have after every round trip."""
EVERYTHING = (
    *FACTS,
    *("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "intent_p1", "intent_name", "aux_file"),
    *("toffset", "cal_max", "cal_min", "slice_code", "slice_end", "dim_info", "pixdim"),
)
"""What it must have where nothing was cut."""


def bytes_of(server: NeuroVaultServer, number: int, folder: Path) -> Path:
    """Put an image of the server on the disk, under a name that is true."""
    data = server.file_bytes(number)
    suffix = "nii.gz" if data[:2] == b"\x1f\x8b" else "nii"
    path = folder / f"image_{number}.{suffix}"
    path.write_bytes(data)
    return path


def squeezed(data: Any) -> NDArray[Any]:
    values = np.asarray(data)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return values


def itk_affine(image: SimpleITK.Image) -> NDArray[np.float64]:
    """Voxel to millimetres as nibabel has it; ITK's x and y run the other way."""
    rank = image.GetDimension()
    linear = np.reshape(image.GetDirection(), (rank, rank)) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = linear[:3, :3], image.GetOrigin()[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def check_readers(path: Path, data: NDArray[Any], affine: NDArray[Any]) -> None:
    """See that nilearn and ITK find the same numbers at the same places."""
    image = nilearn.image.load_img(path)
    np.testing.assert_array_equal(image.get_fdata(), data)
    np.testing.assert_array_equal(image.affine, affine)
    if isinstance(image, nibabel.Nifti2Image):
        with pytest.raises(RuntimeError, match="Unable to determine ImageIO reader"):
            SimpleITK.ReadImage(path)
        return
    # ITK takes zero for whatever is not finite.
    other, filled = SimpleITK.ReadImage(path), np.nan_to_num(data)
    np.testing.assert_array_equal(SimpleITK.GetArrayViewFromImage(other).T, filled)
    np.testing.assert_allclose(itk_affine(other), affine, atol=1e-4)


def check_header(found: Any, expected: Any, names: tuple[str, ...]) -> None:
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


# ---- round trips -----------------------------------------------------------------


def through_netcdf(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    dataset.to_netcdf(path, engine="netcdf4")
    return xr.load_dataset(path, engine="netcdf4")


def through_zarr(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    dataset.to_zarr(path, consolidated=False)
    return xr.open_zarr(path, consolidated=False).load()


def test_these_are_all_geometries_of_the_server(server: NeuroVaultServer) -> None:
    assert sorted(server.archive.image_ids(HOME)) == list(IMAGES)


@pytest.mark.parametrize("number", IMAGES)
def test_a_file_comes_back_as_it_was(
    number: int, server: NeuroVaultServer, tmp_path: Path
) -> None:
    path = bytes_of(server, number, tmp_path)
    before = nibabel.load(path)
    dataset = open_nifti(path)
    dataset.nii.to_nifti(tmp_path / "again.nii.gz")
    after = nibabel.load(tmp_path / "again.nii.gz")
    expected = squeezed(before.dataobj)
    np.testing.assert_array_equal(dataset.maps, expected)
    np.testing.assert_array_equal(after.dataobj, expected)
    np.testing.assert_array_equal(after.affine, before.affine)
    check_header(after.header, before.header, EVERYTHING)
    assert type(after) is type(before)
    check_readers(tmp_path / "again.nii.gz", expected, before.affine)


@pytest.mark.parametrize("number", IMAGES)
@pytest.mark.parametrize("way", [through_netcdf, through_zarr])
def test_a_part_comes_back_from_other_formats(
    way: Callable[..., xr.Dataset],
    number: int,
    server: NeuroVaultServer,
    tmp_path: Path,
) -> None:
    path = bytes_of(server, number, tmp_path)
    before = nibabel.load(path)
    dataset = open_nifti(path)
    dims = dataset.maps.dims
    cut = (slice(40, 3, -2), slice(1, None, 3), slice(2, 9))
    part = dataset.isel(dict(zip(dims, cut, strict=False)))
    found = way(part, tmp_path / "kept").nii.to_nifti(tmp_path / "again.nii")
    after = nibabel.load(tmp_path / "again.nii")
    expected = squeezed(before.dataobj)[cut]
    np.testing.assert_array_equal(found.dataobj, expected)
    np.testing.assert_array_equal(after.dataobj, expected)
    change = np.diag([-2.0, 3.0, 1.0, 1.0])
    change[:3, 3] = 40, 1, 2
    np.testing.assert_allclose(after.affine, before.affine @ change, atol=2e-5)
    if before.header["sform_code"] > 0:
        exact = (before.affine @ change).astype(np.float32)
        np.testing.assert_array_equal(after.affine, exact)
    np.testing.assert_allclose(after.get_qform(), after.affine, atol=1e-4)
    check_header(after.header, before.header, FACTS)
    check_readers(tmp_path / "again.nii", expected, after.affine)


HEADERS = {
    "qform differs from sform": {"qform": True},
    "neither": {"sform": 0, "qform": None},
    "sform only": {"sform": 2, "qform": None},
    "intent": {"intent": ("t test", (20.0,), "faces")},
    "units": {"units": ("micron", "msec")},
    "no time": {"units": ("mm", "unknown")},
    "display": {"cal_max": 7.5, "aux_file": b"a.nii", "toffset": 3.5},
    "slices": {"slice_code": 3, "slice_end": 3, "slice_duration": 0.05},
}


def made(kind: str, *, version: int = 1, shape: Any = (5, 6, 7)) -> Any:
    """Make an image whose header says something unusual."""
    facts = dict(HEADERS[kind])
    image_type = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    affine = nibabel.affines.from_matvec(np.diag([-3, 2.2, 1 / 3]), [70.1, -1 / 7, 9])
    data = np.random.default_rng(1).standard_normal(shape, "f4")
    image = image_type(data, affine)
    turned = affine @ nibabel.affines.from_matvec(nibabel.eulerangles.euler2mat(0.1))
    image.set_sform(affine, facts.pop("sform", 4))
    qform = facts.pop("qform", False)
    image.set_qform(turned if qform else affine, 0 if qform is None else 1)
    image.header.set_xyzt_units(*facts.pop("units", ("mm", "sec")))
    image.header.set_intent(*facts.pop("intent", ("none", (), "")))
    image.header["descrip"] = b"FSL5.0 caf\xe9"
    for name, value in facts.items():
        image.header[name] = value
    return image


@pytest.mark.parametrize("way", [None, through_netcdf, through_zarr])
@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("version", [1, 2])
def test_unusual_headers_come_back(
    version: int, kind: str, way: Any, tmp_path: Path
) -> None:
    image = made(kind, version=version)
    dataset = open_nifti(BytesIO(image.to_bytes()))
    if way is not None:
        dataset = way(dataset, tmp_path / "kept")
    after = dataset.nii.to_nifti()
    before = type(image).from_bytes(image.to_bytes())
    np.testing.assert_array_equal(after.dataobj, before.dataobj)
    np.testing.assert_array_equal(after.affine, before.affine)
    check_header(after.header, before.header, EVERYTHING)


def test_a_qform_that_differs_follows_a_cut() -> None:
    image = made("qform differs from sform")
    dataset = open_nifti(BytesIO(image.to_bytes()))
    cut = dataset.isel(x=slice(None, None, -2), z=slice(3, 5)).nii.to_nifti()
    change = np.diag([-2.0, 1.0, 1.0, 1.0])
    change[:3, 3] = 4, 0, 3
    np.testing.assert_allclose(cut.get_sform(), image.affine @ change, atol=1e-5)
    expected = image.get_qform() @ change
    np.testing.assert_allclose(cut.get_qform(), expected, atol=1e-4)


def test_a_cut_forgets_when_slices_were_taken() -> None:
    dataset = open_nifti(BytesIO(made("slices").to_bytes()))
    header = dataset.isel(z=slice(2, 5)).nii.to_nifti().header
    assert (header["slice_code"], header["slice_end"]) == (0, 0)


def test_extensions_are_not_kept() -> None:
    image = made("intent")
    note = nibabel.nifti1.Nifti1Extension("comment", b"history " * 10)
    image.header.extensions.append(note)
    dataset = open_nifti(BytesIO(image.to_bytes()))
    np.testing.assert_array_equal(dataset.maps, image.dataobj)
    again = nibabel.Nifti1Image.from_bytes(dataset.nii.to_nifti().to_bytes())
    np.testing.assert_array_equal(again.dataobj, image.dataobj)
    assert list(again.header.extensions) == []


def test_attributes_win_over_the_header() -> None:
    dataset = open_nifti(BytesIO(made("units").to_bytes()))
    dataset.nifti.attrs |= {
        "sform_code": 3,
        "qform_code": 0,
        "xyzt_units": "mm sec",
        "description": "by hand",
    }
    header = dataset.nii.to_nifti().header
    assert header.get_sform(coded=True)[1] == 3
    assert header.get_qform(coded=True)[1] == 0
    assert header.get_xyzt_units() == ("mm", "sec")
    assert header["descrip"] == b"by hand"


def test_files_of_two_dimensions_and_of_seven() -> None:
    for shape, dims, again in [
        ((5, 6), "xyz", (5, 6, 1)),
        ((5, 6, 7, 1, 3), ["x", "y", "z", "component"], (5, 6, 7, 1, 3)),
        ((5, 6, 7, 2, 3), ["x", "y", "z", "time", "component"], (5, 6, 7, 2, 3)),
        ((5, 6, 7, 1, 1, 1, 2), ["x", "y", "z", "dim_7"], (5, 6, 7, 1, 1, 1, 2)),
    ]:
        image = made("sform only", shape=shape)
        dataset = open_nifti(BytesIO(image.to_bytes()))
        assert list(dataset.maps.dims) == list(dims)
        after = dataset.nii.to_nifti()
        assert after.shape == again
        np.testing.assert_array_equal(np.ravel(after.dataobj), np.ravel(image.dataobj))


ALIGNED = st.builds(
    lambda steps, signs, start, order: (np.multiply(steps, signs), start, order),
    st.tuples(*[st.floats(0.125, 8, width=32)] * 3),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.tuples(*[st.floats(-200, 200, width=32)] * 3),
    st.permutations(range(3)),
)


@settings(max_examples=40)
@given(parts=ALIGNED, cuts=st.tuples(*map(st.slices, (3, 4, 5))))
def test_aligned_affines_come_back(parts: Any, cuts: Any) -> None:
    steps, start, order = parts
    affine = np.eye(4)
    affine[:3, :3] = np.diag(steps)[order]
    affine[:3, 3] = start
    check_affine(affine, cuts)
    dataset = open_nifti(BytesIO(nibabel.Nifti1Image(DATA, affine).to_bytes()))
    straight = list(order) == [0, 1, 2]
    assert dataset.maps.dims == (("x", "y", "z") if straight else ("i", "j", "k"))
    if straight:
        places = affine @ [2, 3, 4, 1]
        assert [dataset[name].item(-1) for name in "xyz"] == pytest.approx(places[:3])


@settings(max_examples=40)
@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    steps=st.tuples(*[st.floats(0.125, 8)] * 3),
    flip=st.sampled_from([-1.0, 1.0]),
    start=st.tuples(*[st.floats(-200, 200)] * 3),
    cuts=st.tuples(*map(st.slices, (3, 4, 5))),
)
def test_oblique_affines_come_back(
    angles: Any, steps: Any, flip: float, start: Any, cuts: Any
) -> None:
    turn = nibabel.eulerangles.euler2mat(*angles)
    linear = turn @ np.diag(np.multiply(steps, [flip, 1, 1]))
    check_affine(nibabel.affines.from_matvec(linear, start), cuts)


DATA = np.arange(60, dtype="i2").reshape(3, 4, 5)


def check_affine(affine: NDArray[Any], cuts: tuple[slice, ...]) -> None:
    """Open an image, cut it, and see that each voxel is where it was."""
    image = nibabel.Nifti1Image(DATA, affine)
    image.set_qform(affine, 1)
    before = nibabel.Nifti1Image.from_bytes(image.to_bytes())
    array = open_nifti(BytesIO(image.to_bytes())).maps
    whole = array.nii.to_nifti()
    np.testing.assert_array_equal(whole.affine, before.affine)
    check_header(whole.header, before.header, EVERYTHING)
    part = array[cuts]
    if part.size == 0:
        return
    found = part.nii.to_nifti()
    np.testing.assert_array_equal(found.dataobj, DATA[cuts])
    ranges = [range(n)[cut] for n, cut in zip(DATA.shape, cuts, strict=True)]
    for corner in ([0, 0, 0], [n - 1 for n in found.shape]):
        voxel = [each[i] for each, i in zip(ranges, corner, strict=True)]
        place = before.affine @ [*voxel, 1]
        np.testing.assert_allclose(found.affine @ [*corner, 1], place, atol=1e-3)


# ---- numbers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]
)
@pytest.mark.parametrize("way", [None, through_netcdf, through_zarr])
def test_numbers_keep_their_type(dtype: str, way: Any, tmp_path: Path) -> None:
    limits = np.iinfo(dtype) if dtype[0] in "iu" else np.finfo(dtype)
    data = np.array([limits.min, limits.max, 0, 1, 7, 100, 3, 4], dtype)
    header = nibabel.Nifti1Header(None, ">")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(data.reshape(2, 2, 2), np.eye(4), header)
    dataset = open_nifti(BytesIO(image.to_bytes()))
    assert dataset.maps.dtype == np.dtype(dtype)
    if way is not None:
        dataset = way(dataset, tmp_path / "kept")
    after = dataset.nii.to_nifti()
    assert after.get_data_dtype() == np.dtype(dtype)
    np.testing.assert_array_equal(after.dataobj, image.dataobj)


@pytest.mark.parametrize("way", [None, through_netcdf, through_zarr])
def test_scaled_numbers(way: Any, tmp_path: Path) -> None:
    raw = Volume("mni6", 3, "motor", dtype="int16", compressed=False)()
    expected = nibabel.Nifti1Image.from_bytes(raw)
    keep = (lambda each: each) if way is None else partial(way, path=tmp_path / "kept")
    dataset = keep(open_nifti(BytesIO(raw)))
    assert dataset.maps.dtype == np.float64
    np.testing.assert_array_equal(dataset.maps, expected.get_fdata())
    np.testing.assert_array_equal(dataset.nii.to_nifti().dataobj, expected.dataobj)


def test_stored_numbers_with_their_scaling(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(Volume("mni6", 3, "motor", dtype="int16", compressed=False)())
    before = nibabel.load(path)
    dataset = open_nifti(path, mask_and_scale=False)
    assert dataset.maps.dtype == np.int16
    assert dataset.maps.attrs["scale_factor"] == 2**-9
    assert dataset.maps.attrs["add_offset"] == 0.25
    np.testing.assert_array_equal(dataset.maps, before.dataobj.get_unscaled())
    found = dataset.nii.to_nifti(tmp_path / "b.nii")
    after = nibabel.load(tmp_path / "b.nii")
    np.testing.assert_array_equal(found.dataobj, before.dataobj)
    np.testing.assert_array_equal(
        after.dataobj.get_unscaled(), before.dataobj.get_unscaled()
    )
    assert (after.dataobj.slope, after.dataobj.inter) == (2**-9, 0.25)
    # xarray itself understands these attributes.
    np.testing.assert_array_equal(xr.decode_cf(dataset).maps, before.dataobj)


def test_stored_numbers_without_scaling_have_no_such_attributes() -> None:
    dataset = open_nifti(BytesIO(Volume("mni6")()), mask_and_scale=False)
    assert set(dataset.maps.attrs) == {"long_name", "grid_mapping"}


def test_computed_values_are_written_to_netcdf_as_they_are(tmp_path: Path) -> None:
    raw = Volume("mni6", 3, "motor", dtype="int16")()
    dataset = open_nifti(BytesIO(raw)).load()
    dataset["maps"][...] = dataset.maps * 1e6 + 0.5
    kept = through_netcdf(dataset, tmp_path / "kept.nc")
    np.testing.assert_array_equal(kept.maps, dataset.maps)


# ---- what a Dataset has ----------------------------------------------------------


def test_a_map_looks_like_one_of_a_cube(tmp_path: Path) -> None:
    raw = Volume("fsl2", 1, "motor", kind="mask", dtype="uint8")()
    dataset = open_nifti(BytesIO(raw))
    assert dict(dataset.maps.sizes) == {"x": 91, "y": 109, "z": 91}
    assert dataset.x.values[:2].tolist() == [90, 88]
    assert dataset.x.attrs["units"] == "mm"
    assert dataset.maps.attrs["grid_mapping"] == "nifti"
    facts = dataset.nifti.attrs
    assert facts["affine"][:4] == [-2, 0, 0, 90]
    assert facts["space"] == "MNI152"
    assert facts["description"] == "intake_neurovault sample"
    assert base64.b64decode(facts["header"])[344:] == b"n+1\0"
    assert dataset.maps.sel(x=0, y=-20, z=50, method="nearest").ndim == 0


def test_time_is_in_seconds() -> None:
    image = made("units", shape=(2, 3, 4, 5))
    image.header["pixdim"][4], image.header["toffset"] = 720, 1440
    dataset = open_nifti(BytesIO(image.to_bytes()))
    assert dataset.time.values == pytest.approx([1.44, 2.16, 2.88, 3.6, 4.32])
    assert dataset.time.attrs["units"] == "s"
    assert dataset.x.attrs["units"] == "um"
    header = dataset.isel(time=slice(1, None, 2)).nii.to_nifti().header
    assert header["pixdim"][4] == np.float32(1440)
    assert header["toffset"] == np.float32(2160)
    whole = dataset.nii.to_nifti().header
    assert (whole["pixdim"][4], whole["toffset"]) == (720, 1440)


def test_without_a_unit_of_time_volumes_are_counted() -> None:
    image = made("no time", shape=(2, 3, 4, 5))
    dataset = open_nifti(BytesIO(image.to_bytes()))
    assert dataset.volume.values.tolist() == [0, 1, 2, 3, 4]
    again = dataset.sel(volume=[1, 3]).nii.to_nifti()
    np.testing.assert_array_equal(again.dataobj, image.dataobj[..., [1, 3]])


def test_time_survives_netcdf_and_zarr(tmp_path: Path) -> None:
    image = made("sform only", shape=(2, 3, 4, 5))
    image.header["pixdim"][4] = 2.2
    dataset = open_nifti(BytesIO(image.to_bytes()))
    for way in (through_netcdf, through_zarr):
        kept = way(dataset, tmp_path / way.__name__)
        assert kept.time.dtype == np.float64
        assert kept.nii.to_nifti().header["pixdim"][4] == np.float32(2.2)


def test_scrubbed_volumes_are_told(tmp_path: Path) -> None:
    dataset = open_nifti(BytesIO(made("sform only", shape=(2, 3, 4, 6)).to_bytes()))
    with pytest.warns(NeuroVaultWarning, match="not evenly spaced in time"):
        image = dataset.isel(time=[0, 1, 2, 5]).nii.to_nifti()
    assert image.header["pixdim"][4] == 1


def test_the_name_of_the_numbers() -> None:
    dataset = open_nifti(BytesIO(made("intent").to_bytes()))
    assert dataset.maps.attrs["long_name"] == "t test"
    dataset = open_nifti(BytesIO(made("units").to_bytes()))
    assert dataset.maps.attrs["long_name"] == "voxel value"


def test_variables_can_be_dropped() -> None:
    raw = Volume("mni6")()
    assert "nifti" not in open_nifti(BytesIO(raw), drop_variables="nifti")
    dataset = open_nifti(BytesIO(raw), drop_variables=["maps", "x", "absent"])
    assert set(dataset.variables) == {"y", "z", "nifti"}


# ---- laziness --------------------------------------------------------------------


class Watched(BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found


def test_only_what_is_needed_is_read() -> None:
    file = Watched(Volume("mni3", compressed=False, trailing=(4,))())
    dataset = open_nifti(file)
    assert file.count <= 1 << 16
    file.count = 0
    plane = dataset.maps.isel(time=2, z=30)
    assert file.count == 0
    np.testing.assert_array_equal(
        plane, nibabel.Nifti1Image.from_bytes(file.getvalue()).dataobj[..., 30, 2]
    )
    assert file.count == 61 * 73 * 4


def test_a_gzipped_file_is_inflated_when_it_is_used() -> None:
    file = Watched(Volume("mni3")())
    dataset = open_nifti(file)
    assert file.count <= 1 << 16
    assert dataset.maps.sel(x=0, y=0, z=0).item() == dataset.maps[30, 42, 24].item()


def test_chunks(tmp_path: Path) -> None:
    write_values(tmp_path, [1])
    for chunks in ({}, "auto"):
        maps = open_nifti(tmp_path / "1.nii.gz", chunks=chunks).maps
        assert maps.chunks == ((19,), (22,), (19,))
        np.testing.assert_array_equal(maps, nibabel.load(tmp_path / "1.nii.gz").dataobj)
    raw = Volume("mni6", compressed=False, trailing=(3,))()
    split = open_nifti(BytesIO(raw), chunks={"time": 1}).maps
    assert split.chunksizes["time"] == (1, 1, 1)
    expected = nibabel.Nifti1Image.from_bytes(raw).dataobj
    np.testing.assert_array_equal(split, expected)


def test_workers_in_other_processes(tmp_path: Path) -> None:
    write_values(tmp_path, [1])
    path = tmp_path / "1.nii.gz"
    dataset = open_nifti(path, chunks={})
    with dask.config.set(scheduler="processes", num_workers=1):
        total = float(dataset.maps.sum())
    assert total == pytest.approx(nibabel.load(path).get_fdata().sum(), rel=1e-5)
    again = pickle.loads(pickle.dumps(open_nifti(path)))
    assert float(again.maps.sum()) == pytest.approx(total, rel=1e-5)


def test_a_context_closes(tmp_path: Path) -> None:
    write_values(tmp_path, [1])
    with open_nifti(tmp_path / "1.nii.gz") as dataset:
        dataset.load()
    with (tmp_path / "1.nii.gz").open("rb") as file:
        np.testing.assert_array_equal(open_nifti(file).maps, dataset.maps)


def test_many_files_become_one_array(tmp_path: Path) -> None:
    write_values(tmp_path, [1, 2, 3])
    paths = [tmp_path / f"{number}.nii.gz" for number in (1, 2, 3)]
    dataset = xr.open_mfdataset(
        paths, engine="nifti", combine="nested", concat_dim="image", join="exact",
        data_vars="all", coords="minimal", compat="override",
    )  # fmt: skip
    assert dataset.maps.dims == ("image", "x", "y", "z")
    assert dataset.maps.chunks[0] == (1, 1, 1)
    image = dataset.nii.to_nifti()
    np.testing.assert_array_equal(image.dataobj[..., 1], nibabel.load(paths[1]).dataobj)


# ---- what is no map --------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (2202, "cut off"),
        (2203, "image_2203.nii: the file is not NIfTI, it looks like an HTML"),
        (2204, "the file is empty"),
        (2205, "damaged"),
        (2206, "the file is not NIfTI"),
    ],
)
def test_broken_files(
    number: int, message: str, server: NeuroVaultServer, tmp_path: Path
) -> None:
    path = bytes_of(server, number, tmp_path)
    with pytest.raises(CorruptFileError, match=message):
        open_nifti(path).load()


def test_what_is_no_file() -> None:
    with pytest.raises(ArgumentError, match=r"^3 is no NIfTI file; give the path or"):
        intake_neurovault.open_nifti(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match=r"absent\.nii"):
        open_nifti("absent.nii")


def test_numbers_that_are_no_voxels() -> None:
    colours = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    raw = nibabel.Nifti1Image(colours, np.eye(4)).to_bytes()
    with pytest.raises(GeometryError, match=r"the open file: .*\(colours\)"):
        open_nifti(BytesIO(raw))
    image = nibabel.Nifti2Image(np.zeros((1, 1, 1, 1, 3, 4), "f4"), np.eye(4))
    image.header["intent_code"] = 3006
    with pytest.raises(GeometryError, match=r"this is a CIFTI file"):
        open_nifti(BytesIO(image.to_bytes()))


def test_a_scaling_that_makes_no_number() -> None:
    raw = bytearray(Volume("mni6", dtype="int16", compressed=False)())
    raw[116:120] = np.float32(np.nan).tobytes()
    with pytest.raises(CorruptFileError, match="scales by the intercept nan"):
        open_nifti(BytesIO(raw))


def test_a_name_that_is_not_nifti(tmp_path: Path) -> None:
    image = open_nifti(BytesIO(Volume("mni6")())).maps
    with pytest.raises(ArgumentError, match=r"a\.img' must end in \.nii or \.nii\.gz"):
        image.nii.to_nifti(tmp_path / "a.img")
    with pytest.raises(ArgumentError, match=r"there is no folder .*absent'; create it"):
        image.nii.to_nifti(tmp_path / "absent" / "a.nii")
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_whole_and_always_the_same(tmp_path: Path) -> None:
    image = open_nifti(BytesIO(Volume("mni6")())).maps
    for name in ("a.nii.gz", "b.nii.gz", "c.nii"):
        image.nii.to_nifti(tmp_path / name)
    a, b, c = (path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert a == b
    assert gzip.decompress(a) == c


# ---- xarray's list of engines ----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii", True),
        ("sub-01_bold.NII.GZ", True),
        (Path("a.nii.gz"), True),
        ("https://lab.org/a.nii.gz?download=1", True),
        ("simplecache::https://lab.org/a.nii.gz", True),
        ("zip://a.nii.gz::maps.zip", True),
        ("a.nc", False),
        ("a.nii.zarr", False),
        ("a.gz", False),
        (BytesIO(b""), False),
    ],
)
def test_guesses(name: Any, expected: bool) -> None:
    assert NiftiBackendEntrypoint().guess_can_open(name) is expected


def test_a_local_file_needs_no_word_on_the_engine(tmp_path: Path) -> None:
    write_values(tmp_path, [1])
    assert xr.open_dataset(tmp_path / "1.nii.gz").maps.dtype == np.float32


def test_other_engines_do_not_wait_for_this_one(
    run_python: Callable[..., Any],
) -> None:
    code = """
import sys
import xarray
before = set(sys.modules)
engines = xarray.backends.list_engines()
assert "nifti" in engines
ours = {m for m in set(sys.modules) - before if "neurovault" in m}
assert ours == {"intake_neurovault", "intake_neurovault.engine"}, ours
heavy = {"nibabel", "nilearn", "scipy", "fsspec", "requests"} & set(sys.modules)
assert not heavy - before, heavy - before
"""
    run_python(code)
