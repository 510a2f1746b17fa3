"""The sample archive: genuine NIfTI files that show what their records say."""

import gzip
import time

import nibabel as nib
import numpy as np
import pytest

from intake_neurovault.testing import NeuroVaultServer, Volume, sample_archive
from intake_neurovault.testing.volumes import PATTERNS, SPACES, affine_of, shipped_bytes

NOT_STATISTICS = ("ROI/mask", "anatomical", "parcellation")
UNREADABLE = range(2201, 2207)


@pytest.fixture(scope="module")
def archive():
    return sample_archive()


def load(raw):
    unpacked = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    second = int.from_bytes(unpacked[:4], "little") == 540
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    return kind.from_bytes(unpacked)


def basic(record):
    return (
        record["image_type"] != "atlas"
        and record["collection_id"] != 9001
        and record["not_mni"] is False
        and record["is_thresholded"] is False
        and record["map_type"] not in NOT_STATISTICS
        and (record["number_of_subjects"] or 0) >= 10
    )


def test_it_is_made_quickly_and_always_the_same():
    # NOTE: of this thread's own work; a clock would count what others do as well.
    started = time.thread_time()
    first, second = sample_archive(), sample_archive()
    assert time.thread_time() - started < 3
    assert first.collections == second.collections
    assert first.images == second.images
    assert first.order == second.order
    assert first.file_bytes(48000) == second.file_bytes(48000)


def test_every_file_is_nifti_but_the_broken_ones(archive):
    for number in archive.images:
        if number not in UNREADABLE:
            image = load(archive.file_bytes(number))
            assert np.asarray(image.dataobj).shape == image.shape
            assert np.isfinite(image.affine).all()


def test_broken_files_are_broken(archive):
    missing, half, page, nothing, damaged, text = map(archive.file_bytes, UNREADABLE)
    assert (missing, nothing) == (b"", b"")
    with pytest.raises(EOFError, match="end-of-stream"):
        gzip.decompress(half)
    assert page.startswith(b"<!DOCTYPE html>")
    with pytest.raises((gzip.BadGzipFile, OSError), match=r"CRC|length"):
        gzip.decompress(damaged)
    assert gzip.decompress(text) == b"not an image"


def test_enough_group_maps_pass_the_usual_terms(archive):
    chosen = [record for record in archive.images.values() if basic(record)]
    assert len(chosen) >= 25
    assert {record["collection_id"] for record in chosen} == {658, 3324}
    motor = [row for row in chosen if "button press" in row["name"]]
    assert len(motor) == 16
    assert {row["map_type"] for row in motor} == {"T map", "Z map"}
    assert {row["analysis_level"] for row in motor} == {"group"}


def test_image_10426_is_the_real_one(archive):
    real = shipped_bytes("image_10426.nii.gz")
    assert archive.file_bytes(10426) == real
    with NeuroVaultServer(archive) as server:
        assert server.file_bytes(10426) == real


def test_the_mean_of_the_motor_maps_shows_the_hand_area(archive):
    ids = [n for n in archive.image_ids(658) if n != 10426 and n < 10426]
    images = [load(archive.file_bytes(number)) for number in ids]
    mean = np.mean([image.get_fdata() for image in images], axis=0)
    real = load(archive.file_bytes(10426))
    inside = (real.get_fdata() != 0) & (mean != 0)
    assert np.corrcoef(mean[inside], real.get_fdata()[inside])[0, 1] > 0.9
    peak = np.unravel_index(mean.argmax(), mean.shape)
    x, y, z = nib.affines.apply_affine(images[0].affine, peak)
    assert 20 < x < 65
    assert -45 < y < 0
    assert 35 < z < 75


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"none"}))
def test_patterns_peak_where_they_are_planted(pattern):
    image = Volume("mni3", 1, pattern, height=30.0).image()
    peak = np.unravel_index(image.get_fdata().argmax(), image.shape)
    spots = [spot for spot in PATTERNS[pattern] if spot[3] > 0.8]
    found = nib.affines.apply_affine(image.affine, peak)
    assert min(np.abs(found - spot[:3]).max() for spot in spots) <= 12


def geometry(archive):
    return {archive.images[n]["name"]: n for n in archive.image_ids(20)}


@pytest.mark.parametrize(
    "name",
    [
        "fsl_2mm",
        "spm_2mm",
        "spm_3mm",
        "fmriprep_2mm",
        "x_flipped",
        "oblique",
        "rounded_affine",
        "int16_slope_intercept",
        "float64",
        "nan_background",
        "trailing_one",
        "trailing_two",
        "big_endian",
        "nifti2",
        "qform_only",
        "uncompressed",
        "small_field_of_view",
    ],
)
def test_the_grids_hold_one_map(archive, name):
    numbers = geometry(archive)
    reference = load(archive.file_bytes(numbers["mni_3mm"]))
    image = load(archive.file_bytes(numbers[name]))
    millimetres = np.array([[-38, -24, 56], [18, -52, -22], [30, 0, 40], [0, -70, 20]])
    values = []
    for one in (reference, image):
        voxels = nib.affines.apply_affine(np.linalg.inv(one.affine), millimetres)
        shape = np.array(one.shape[:3])
        inside = ((voxels >= 0) & (voxels <= shape - 1)).all(axis=1)
        nearest = np.clip(np.round(voxels).astype(int), 0, shape - 1)
        data = one.get_fdata().reshape(one.shape[:3])
        values.append(np.where(inside, data[tuple(nearest.T)], np.nan))
    both = np.isfinite(values).all(axis=0)
    assert both.sum() >= 2
    expected, found = (column[both] for column in values)
    np.testing.assert_allclose(found, expected, atol=1.5)


def test_the_grids_have_telling_headers(archive):
    images = {
        name: load(archive.file_bytes(number))
        for name, number in geometry(archive).items()
    }
    assert images["trailing_one"].shape == (61, 73, 61, 1)
    assert images["trailing_two"].shape == (61, 73, 61, 1, 1)
    assert images["four_d"].shape == (61, 73, 61, 3)
    assert images["int16_slope_intercept"].dataobj.slope == 2**-9
    assert images["int16_slope_intercept"].dataobj.inter == 0.25
    assert images["float64"].get_data_dtype() == np.float64
    assert images["big_endian"].header.endianness == ">"
    assert isinstance(images["nifti2"], nib.Nifti2Image)
    assert int(images["qform_only"].header["sform_code"]) == 0
    assert np.isnan(images["nan_background"].get_fdata()).mean() > 0.5
    assert not images["zeros"].get_fdata().any()
    assert images["x_flipped"].affine[0, 0] == -3
    assert np.count_nonzero(images["oblique"].affine[:3, :3]) > 3
    plain = archive.images[geometry(archive)["uncompressed"]]["file"]
    assert plain.endswith("uncompressed.nii")


@pytest.mark.parametrize("space", SPACES)
def test_every_grid_is_written_as_named(space):
    image = Volume(space, kind="zeros").image()
    assert image.shape == SPACES[space][0]
    np.testing.assert_allclose(image.affine, affine_of(space), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "values"), [("mask", {0, 1}), ("parcels", set(range(13)))]
)
def test_labels_are_whole_numbers(kind, values):
    volume = Volume("mni3", 7, "motor", kind=kind, dtype="uint8")
    assert set(np.unique(volume.image().get_fdata())) == values


def test_thresholded_maps_are_mostly_zero():
    data = Volume("mni3", 3, "fear", kind="thresholded").image().get_fdata()
    assert 0 < np.count_nonzero(data) < 0.05 * data.size
    assert np.abs(data[data != 0]).min() >= 2.29


def test_thumbnails_are_pictures(archive):
    picture = archive.files["/media/images/658/glass_brain_10412.png"].read()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    size = [int.from_bytes(picture[a : a + 4], "big") for a in (16, 20)]
    assert size == [53, 63]


def test_volumes_may_be_added_as_recipes():
    volume = Volume("mni6", seed=3)
    archive = sample_archive()
    archive.add_image(23, volume, id=99)
    assert archive.file_bytes(99) == volume()
    assert archive.images[99]["file"] == "/media/images/23/image_99.nii.gz"
