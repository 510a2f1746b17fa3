"""Lists as nilearn returns them, of any query."""

from __future__ import annotations

from pathlib import Path

import pytest

from intake_neurovault import fetch_neurovault_ids, search
from intake_neurovault.bunch import make_bunch
from intake_neurovault.errors import MissingError, NeuroVaultWarning
from intake_neurovault.records import Collection, Image
from intake_neurovault.testing import NeuroVaultServer

ABOUT = Collection.from_json({"id": 1, "name": "Faces", "DOI": "n/a"})


def image(number: int) -> Image:
    raw = {"id": number, "collection_id": 1, "task": "None / Other"}
    return Image.from_json(raw, base_url="http://a.org")


def test_a_search_gives_the_same_lists(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    settings = {"url": server.url, "data_dir": data_dir}
    result = search(image_ids=[10426, 32015], **settings)
    bunch = result.to_bunch()
    assert bunch == fetch_neurovault_ids(image_ids=[10426, 32015], **settings)
    assert dict(zip(result.keys(), map(Path, bunch.images), strict=True)) == (
        result.fetch()
    )


def test_what_cannot_be_had_is_in_no_list_but_that_of_failures(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.archive.replace_file(10426, None)
    settings = {"url": fresh_server.url, "data_dir": data_dir}
    result = search(image_ids=[10426, 32015], **settings, errors="warn")
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched"):
        bunch = result.to_bunch()
    assert [len(bunch[name]) for name in ("images", "images_meta")] == [1, 1]
    assert bunch.failures == result.failures.to_dict("records")
    with pytest.raises(MissingError, match="10426"):
        search(image_ids=[10426], **settings).to_bunch()


def test_each_record_is_one_s_own(tmp_path: Path) -> None:
    rows = [(image(number), ABOUT, tmp_path / f"{number}.nii.gz") for number in (3, 5)]
    bunch = make_bunch(rows, tmp_path)
    bunch.collections_meta[0]["name"] = "changed"
    bunch.images_meta[0]["task"] = "changed"
    assert bunch.collections_meta[1]["name"] == "Faces"
    assert (rows[0][0].raw["task"], bunch.images_meta[1]["task"]) == (
        "None / Other",
        None,
    )


def test_a_file_of_words_is_named_where_it_is_or_was_asked_for(tmp_path: Path) -> None:
    rows = [(image(number), ABOUT, tmp_path / f"{number}.nii.gz") for number in (3, 5)]
    place = tmp_path / "collection_1" / "neurosynth_words_for_image_5.json"
    place.parent.mkdir()
    place.touch()
    metas = make_bunch(rows, tmp_path).images_meta
    assert [meta.get("ns_words_absolute_path") for meta in metas] == [None, str(place)]
    metas = make_bunch(rows, tmp_path, words=True).images_meta
    assert all("ns_words_relative_path" in meta for meta in metas)
