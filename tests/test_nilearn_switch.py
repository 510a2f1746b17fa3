"""What changes for those who come from nilearn: a test for each row of the page."""

from __future__ import annotations

import gzip
import json
import logging
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import nibabel
import numpy as np
import pytest
from asking import SECRET, BusyServer, asked
from nilearn.image import concat_imgs
from peer import point_nilearn
from trees import gzipped, nifti

import intake_neurovault as nv
from intake_neurovault.errors import NeuroVaultWarning, UnknownArgumentError
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer, Volume

PAGE = Path(__file__).parents[1] / "docs" / "from_nilearn.md"
FACES = [1000, 1001, 1002, 1003]
PAIN = [2000, 2001]
LABELS = 3000
EVERYTHING: dict[str, Any] = {"image_terms": {}, "max_images": None}
MEDIA = "^/media/"

Fetch = Callable[..., Any]
Test = TypeVar("Test", bound=Callable[..., None])

TESTED: dict[str, list[str]] = {}


def row(seen: str) -> Callable[[Test], Test]:
    """Mark a test as that of the row whose first cell begins so."""

    def mark(test: Test) -> Test:
        TESTED.setdefault(seen, []).append(test.__name__)
        return test

    return mark


@pytest.fixture
def server() -> Iterator[NeuroVaultServer]:
    """Serve two small studies and a parcellation."""
    archive = Archive()
    archive.add_collection("Faces", id=1, DOI="10.5555/a", owner=7)
    archive.add_collection("Pain", id=2, DOI="10.5555/b", owner=8)
    archive.add_collection("Atlases", id=3, owner=8)
    for number in [*FACES, *PAIN]:
        about = {"map_type": "Z map" if number % 2 else "T map", "task": "faces"}
        archive.add_image(number // 1000, gzipped(number), id=number, **about)
    labels = Volume("mni6", 3, kind="parcels")
    archive.add_image(3, labels, id=LABELS, map_type="parcellation")
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.fixture
def here(
    server: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Name server and folder to both packages; give the arguments of a quick test."""
    point_nilearn(monkeypatch, server)
    monkeypatch.setenv("INTAKE_NEUROVAULT_WORDS_URL", f"{server.url}/api/decode/")
    return {"url": server.url, "data_dir": data_dir, "retries": 0}


@pytest.fixture
def filtered(here: dict[str, Any]) -> Fetch:
    return lambda **arguments: nv.fetch_neurovault(**(here | arguments))


@pytest.fixture
def by_id(here: dict[str, Any]) -> Fetch:
    return lambda **arguments: nv.fetch_neurovault_ids(**(here | arguments))


def ids(bunch: Any) -> list[int]:
    return [meta["id"] for meta in bunch.images_meta]


def values(path: str) -> Any:
    return nibabel.load(path).get_fdata()


def records(data_dir: Path) -> dict[Path, tuple[bytes, int]]:
    tree = data_dir / "neurovault"
    found = [path for path in tree.glob("collection_*/*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


# ---- what you get ---------------------------------------------------------------


@row("of a collection in which you once fetched one image")
def test_one_image_on_disk_does_not_stand_for_its_collection(by_id: Fetch) -> None:
    assert ids(by_id(image_ids=FACES[:1])) == FACES[:1]
    assert ids(by_id(collection_ids=[1])) == FACES


@row("a collection named by text")
def test_a_collection_named_by_text_is_downloaded_once(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    first = by_id(collection_ids=["1"])
    assert len(asked(server, MEDIA)) == len(FACES)
    assert by_id(collection_ids=[1]) == by_id(collection_ids=["1"]) == first
    assert asked(server, MEDIA) == []


@row("`fetch_neurovault(collection_ids=…)` ignores")
@pytest.mark.parametrize("name", ["collection_ids", "image_ids"])
def test_ids_in_the_wrong_function_are_an_error_that_names_the_right_one(
    filtered: Fetch, server: NeuroVaultServer, name: str
) -> None:
    with pytest.raises(UnknownArgumentError, match=f"fetch_neurovault_ids\\({name}="):
        filtered(**{name: [1]}, max_images=2)
    assert server.requests == []


@row("a misspelt keyword gives an empty list")
def test_a_misspelt_keyword_is_told(filtered: Fetch) -> None:
    with pytest.warns(NeuroVaultWarning, match="'map_typ'; did you mean 'map_type'"):
        assert ids(filtered(map_typ="Z map")) == []
    assert ids(filtered(map_type="Z map")) == [1001, 1003, 2001]


@row("one page that fails costs the images of all other collections")
def test_one_bad_page_costs_its_own_collection_at_most(
    filtered: Fetch, server: NeuroVaultServer
) -> None:
    server.faults.append(Fault(match="/collections/1/images", kind="503"))
    with pytest.warns(NeuroVaultWarning, match="could not be listed"):
        bunch = filtered(**EVERYTHING)
    assert ids(bunch) == [*PAIN, LABELS]
    assert {each["collection_id"] for each in bunch.failures} == {1}
    server.faults.clear()
    server.faults.append(Fault(match="/collections/1/images", kind="503", times=1))
    assert ids(filtered(**EVERYTHING, retries=1)) == [*FACES, *PAIN, LABELS]


@row("images come one after the other")
def test_images_come_several_at_a_time(data_dir: Path) -> None:
    archive = Archive()
    archive.add_collection("Many", id=1)
    for number in range(1, 13):
        archive.add_image(1, gzipped(number), id=number)
    with BusyServer(archive, MEDIA, 0.1) as busy:
        nv.fetch_neurovault_ids(collection_ids=1, url=busy.url, data_dir=data_dir)
        assert 4 < busy.most <= 8


@row("ids that do not exist vanish")
def test_missing_ids_are_named_and_the_order_is_kept(by_id: Fetch) -> None:
    with pytest.warns(NeuroVaultWarning, match="999999"):
        bunch = by_id(image_ids=[2001, 1003, 999999, 1000])
    assert ids(bunch) == [2001, 1003, 1000]
    assert [failure["id"] for failure in bunch.failures] == [999999]
    assert [int(re.findall(r"image_(\d+)", p)[0]) for p in bunch.images] == ids(bunch)


@row('`image_ids="123"` gives images 1, 2 and 3')
def test_one_id_as_text_is_one_id(by_id: Fetch) -> None:
    assert ids(by_id(image_ids="1000")) == [1000]
    assert ids(by_id(image_ids=np.int64(1000))) == [1000]


@row("half a file, or a web page in its place")
@pytest.mark.parametrize("kind", ["short_body", "html", "bit_flip"])
def test_what_is_no_whole_image_is_not_kept(
    by_id: Fetch, server: NeuroVaultServer, kind: Any
) -> None:
    server.faults.append(Fault(match="/media/.*1000", kind=kind))
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched"):
        assert ids(by_id(image_ids=FACES)) == FACES[1:]
    server.faults.clear()
    assert ids(by_id(image_ids=FACES)) == FACES


@row("half a file, or a web page in its place")
def test_half_a_file_on_disk_is_downloaded_again(by_id: Fetch) -> None:
    path = Path(by_id(image_ids=1000).images[0])
    path.write_bytes(gzipped(1000)[:2000])
    with pytest.warns(NeuroVaultWarning, match="passed over"):
        again = by_id(image_ids=1000)
    assert Path(again.images[0]).read_bytes() == gzipped(1000)


@row("`timeout` is ignored for `image_ids` and for files")
@pytest.mark.parametrize("place", ["/api/images/1000", MEDIA])
def test_the_timeout_holds_for_records_and_for_files(
    by_id: Fetch, server: NeuroVaultServer, place: str
) -> None:
    server.faults.append(Fault(match=place, kind="silent"))
    began = time.monotonic()
    with pytest.warns(NeuroVaultWarning, match="larger timeout="):
        assert ids(by_id(image_ids=1000, timeout=0.3)) == []
    assert time.monotonic() - began < 5


@row("the limit decides among what is on disk first")
def test_a_limit_chooses_the_same_images_whatever_is_on_disk(
    filtered: Fetch, by_id: Fetch
) -> None:
    by_id(collection_ids=[2])
    assert ids(filtered(image_terms={}, max_images=2)) == FACES[:2]


# ---- conditions -----------------------------------------------------------------


@row("conditions that the server should apply (DOI, name, owner)")
@pytest.mark.parametrize("terms", [{"owner": 8}, {"DOI": "10.5555/b"}])
def test_an_id_does_not_switch_other_conditions_off(
    filtered: Fetch, terms: dict[str, Any]
) -> None:
    found = filtered(collection_terms={"id": 1, **terms}, **EVERYTHING)
    assert ids(found) == []
    found = filtered(collection_terms={"id": 2, **terms}, **EVERYTHING)
    assert ids(found) == PAIN


@row("conditions that the server should apply (DOI, name, owner)")
def test_conditions_hold_whatever_the_server_makes_of_them(filtered: Fetch) -> None:
    """The server of these tests, as NeuroVault's, ignores the owner."""
    assert ids(filtered(collection_terms={"owner": 7}, **EVERYTHING)) == FACES


@row('"None of the above" and "nonedible items" count as missing')
def test_words_that_begin_like_nothing_are_something(
    filtered: Fetch, server: NeuroVaultServer
) -> None:
    server.archive.edit_image(1000, task="None of the above")
    server.archive.edit_image(1001, task="nonedible items")
    server.archive.edit_image(1002, task="None / Other")
    bunch = filtered(image_terms={"task": nv.NotNull()}, collection_id=1)
    told = [meta["task"] for meta in bunch.images_meta]
    assert told == ["None of the above", "nonedible items", "faces"]


@row('a filter sees "None / Other" online and nothing from disk')
def test_nothing_is_nothing_online_and_offline(
    filtered: Fetch, server: NeuroVaultServer
) -> None:
    server.archive.edit_image(1000, task="None / Other")
    for mode in ("download_new", "offline"):
        found = filtered(image_terms={"task": nv.IsNull()}, mode=mode, collection_id=1)
        assert ids(found) == [1000]
    seen: list[object] = []
    filtered(
        image_terms={},
        image_filter=lambda image: seen.append(image.get("task")) or True,
    )
    assert "None / Other" not in seen


@row("`GreaterThan(5)` refuses 5.9")
def test_comparisons_do_not_cut_numbers_or_order_nothing() -> None:
    assert nv.GreaterThan(5) == 5.9
    assert nv.LessOrEqual(7) != 7.9
    assert nv.GreaterThan("2016") != None  # noqa: E711  how a comparison is asked
    assert nv.LessThan("2016") != None  # noqa: E711
    assert nv.IsIn(1) != True  # noqa: E712


@row('a list such as `map_type=["Z map", "T map"]`')
def test_a_list_means_any_of_these(filtered: Fetch) -> None:
    assert ids(filtered(map_type=["Z map", "T map"])) == [*FACES, *PAIN]


@row('"default filters still apply" is said where they do not')
def test_default_terms_are_told_of_only_where_they_hold(filtered: Fetch) -> None:
    basic = nv.basic_image_terms()

    def everything(_image: object) -> bool:
        return True

    own = {**basic, "map_type": "T map"}
    assert ids(filtered(image_terms=own, image_filter=everything)) == [1000, 1002, 2000]
    assert len(filtered(image_terms={}, image_filter=everything).images) == 7
    with pytest.warns(NeuroVaultWarning, match=r"still apply \(not_mni, is_thre"):
        filtered(image_filter=everything)
    with pytest.warns(NeuroVaultWarning, match=r"still apply \(not_mni, is_thr.*\)"):
        filtered(image_terms=basic, image_filter=everything, map_type="T map")
    with pytest.warns(NeuroVaultWarning, match=r"`collection_filter` but the default"):
        filtered(collection_filter=nv.ResultFilter(owner=7))


# ---- resampled maps -------------------------------------------------------------


@row("resampled maps differ in shape")
def test_resampled_maps_stack(by_id: Fetch, server: NeuroVaultServer) -> None:
    for number, space in enumerate(("mni3", "spm3"), start=5000):
        server.archive.add_image(2, Volume(space, number), id=number)
    maps = by_id(collection_ids=2, resample=True)
    assert {nibabel.load(path).shape for path in maps.images} == {(61, 73, 61)}
    assert concat_imgs(maps.images).shape == (61, 73, 61, 4)


@row("a 4-D file stays 4-D when resampled")
def test_a_file_of_several_volumes_is_left_out_when_resampled(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    for number, trailing in ((6000, (1, 2)), (6001, (1,))):
        volume = Volume("mni6", number, trailing=trailing)
        server.archive.add_image(2, volume, id=number)
    wanted = {"image_ids": [6000, 6001]}
    assert ids(by_id(**wanted)) == [6000, 6001]
    with pytest.warns(NeuroVaultWarning, match="image 6000"):
        maps = by_id(**wanted, resample=True)
    assert [values(path).shape for path in maps.images] == [(61, 73, 61)]
    assert [failure["id"] for failure in maps.failures] == [6000]


@row("a map resampled once is given again whatever `interpolation`")
def test_each_interpolation_gives_its_own_values(filtered: Fetch) -> None:
    asked_for = {"resample": True, "max_images": 1}
    smooth, blocky, again = (
        values(filtered(**asked_for, interpolation=each).images[0])
        for each in ("continuous", "nearest", "continuous")
    )
    assert not np.allclose(smooth, blocky)
    np.testing.assert_array_equal(smooth, again)


@row("labels are blended when resampled")
def test_labels_are_not_blended(by_id: Fetch, filtered: Fetch) -> None:
    labels = set(np.unique(values(by_id(image_ids=LABELS).images[0])))
    found = set(np.unique(values(by_id(image_ids=LABELS, resample=True).images[0])))
    assert found <= labels | {0.0}
    atlases = {"collection_id": 3, "image_terms": {}, "resample": True}
    for method, blended in (("auto", False), ("continuous", True)):
        maps = filtered(**atlases, interpolation=method)
        assert (set(np.unique(values(maps.images[0]))) <= labels | {0.0}) != blended
    linear = by_id(image_ids=LABELS, resample=True, interpolation="linear")
    assert not set(np.unique(values(linear.images[0]))) <= labels | {0.0}


@row("originals on disk hide the maps")
def test_originals_and_resampled_maps_do_not_hide_each_other(by_id: Fetch) -> None:
    by_id(image_ids=FACES[:3], resample=True)
    by_id(image_ids=FACES[3:])
    for resample in (False, True):
        maps = by_id(collection_ids=1, resample=resample)
        assert ids(maps) == FACES
        assert all(Path(path).is_file() for path in maps.images)


@row("in a folder that was moved")
def test_resampled_files_are_found_in_a_folder_that_was_moved(
    by_id: Fetch, data_dir: Path, server: NeuroVaultServer, tmp_path: Path
) -> None:
    before = by_id(image_ids=FACES, resample=True)
    moved = tmp_path / "elsewhere"
    shutil.move(data_dir, moved)
    server.clear_requests()
    after = by_id(image_ids=FACES, resample=True, data_dir=moved)
    assert asked(server, MEDIA) == []
    names = [Path(path).relative_to(data_dir) for path in before.images]
    assert [Path(path).relative_to(moved) for path in after.images] == names
    assert [values(path).shape for path in after.images] == [(61, 73, 61)] * 4


# ---- words ----------------------------------------------------------------------


@row("an image without Neurosynth words has a row of zeros")
def test_missing_words_are_missing_and_asked_for_again(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    server.faults.append(Fault(match="neurovault=1001", kind="html"))
    wanted = {"image_ids": FACES, "fetch_neurosynth_words": True}
    with pytest.warns(NeuroVaultWarning, match="words of image 1001|Neurosynth"):
        maps = by_id(**wanted)
    assert ids(maps) == FACES
    missing = np.isnan(maps.word_frequencies).all(axis=1)
    assert missing.tolist() == [False, True, False, False]
    files = [meta["ns_words_absolute_path"] for meta in maps.images_meta]
    matrix, vocabulary = nv.neurosynth_words_vectorized(files, verbose=0)
    np.testing.assert_array_equal(matrix, maps.word_frequencies)
    np.testing.assert_array_equal(vocabulary, maps.vocabulary)
    server.faults.clear()
    assert np.isfinite(by_id(**wanted).word_frequencies).all()


@row("Neurosynth may hang, and the images with it")
def test_a_neurosynth_that_is_away_blocks_no_image(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    server.faults.append(Fault(match="decode", kind="silent"))
    wanted = {"image_ids": FACES, "fetch_neurosynth_words": True, "timeout": 0.3}
    began = time.monotonic()
    with pytest.warns(NeuroVaultWarning) as said:
        maps = by_id(**wanted)
    assert time.monotonic() - began < 8
    assert any("No word weight could be loaded" in str(each.message) for each in said)
    assert ids(maps) == FACES
    assert (maps.word_frequencies, maps.vocabulary) == (None, None)
    with pytest.raises(RuntimeError, match="pass fetch_neurosynth_words=False"):
        by_id(**wanted, allow_neurosynth_failure=False)


# ---- the folder -----------------------------------------------------------------


@row("a field of your own such as `absolute_pitch`")
def test_fields_of_your_own_are_kept_on_disk(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    server.archive.edit_image(1000, absolute_pitch=True)
    for mode in ("download_new", "offline"):
        assert by_id(image_ids=1000, mode=mode).images_meta[0]["absolute_pitch"] is True


@row("one damaged record in the folder stops every call")
@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_a_damaged_record_stops_nothing(
    by_id: Fetch, data_dir: Path, mode: str
) -> None:
    by_id(image_ids=[*FACES, *PAIN])
    folder = data_dir / "neurovault" / "collection_1"
    (folder / "image_1000_metadata.json").write_bytes(b"")
    assert ids(by_id(image_ids=PAIN, mode=mode)) == PAIN
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Offline, only what is on disk is known")
        assert ids(by_id(collection_ids=2, mode=mode)) == PAIN


@row('`mode="offline"` asks Neurosynth, and rewrites records')
def test_offline_asks_nothing_and_changes_nothing_of_nilearns(
    by_id: Fetch, filtered: Fetch, data_dir: Path, server: NeuroVaultServer
) -> None:
    by_id(image_ids=FACES)
    server.clear_requests()
    before = records(data_dir)
    with pytest.warns(NeuroVaultWarning) as said:
        maps = by_id(
            image_ids=FACES, mode="offline", fetch_neurosynth_words=True, resample=True
        )
    assert "run once without mode='offline'" in str(said[0].message)
    assert [values(path).shape for path in maps.images] == [(61, 73, 61)] * 4
    with pytest.warns(NeuroVaultWarning, match="only what is on disk is known"):
        assert ids(filtered(mode="offline", image_terms={})) == FACES
    assert server.requests == []
    assert records(data_dir) == before


@row("an edited map on the server is never seen")
def test_update_fetches_what_changed_and_nothing_else(
    by_id: Fetch, server: NeuroVaultServer
) -> None:
    by_id(collection_ids=1)
    server.archive.replace_file(1002, gzipped(99))
    server.clear_requests()
    maps = by_id(collection_ids=1, mode="update")
    assert len(asked(server, MEDIA)) == 1
    assert gzip.decompress(Path(maps.images[2]).read_bytes()) == nifti(99)


@row("private collections cannot be had")
def test_a_private_collection_is_opened_by_its_token(
    fresh_server: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    maps = nv.fetch_neurovault_ids(
        collection_ids="env:MY_TOKEN", url=fresh_server.url, data_dir=data_dir
    )
    assert {meta["collection_id"] for meta in maps.images_meta} == {9001}
    assert SECRET not in json.dumps(maps)


@row("`verbose=0` prints")
def test_nothing_is_printed(
    by_id: Fetch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="intake_neurovault")
    for verbose in (0, 3):
        by_id(image_ids=FACES, resample=True, verbose=verbose)
    assert capfd.readouterr() == ("", "")


# ---- the table ------------------------------------------------------------------


def rows() -> list[list[str]]:
    text = PAGE.read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["with nilearn", "here", "see"]
    return cells[1:]


def test_each_row_has_its_test_and_each_test_its_row() -> None:
    first = [cells[0] for cells in rows()]
    untested = [seen for seen in first if not any(map(seen.startswith, TESTED))]
    homeless = [key for key in TESTED if sum(s.startswith(key) for s in first) != 1]
    assert (untested, homeless) == ([], [])


def test_each_row_says_where_to_read_more() -> None:
    thread = r"\[#(\d+)\]\(https://github\.com/nilearn/nilearn/(?:issues|pull)/(\d+)\)"
    for _, here_, see in rows():
        assert here_
        found = re.fullmatch(thread, see)
        assert see == "0.14.1" or (found and found[1] == found[2])
