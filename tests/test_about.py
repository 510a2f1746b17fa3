"""Everything known about one map, as people and machines are told."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from asking import SECRET
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault import About, Collection, Image, SearchResult, search
from intake_neurovault.about import UNITS
from intake_neurovault.kept import Kept, OnGrid
from intake_neurovault.lettering import width
from intake_neurovault.schema import COLLECTION_FIELDS, IMAGE_FIELDS
from intake_neurovault.testing import NeuroVaultServer
from intake_neurovault.testing.volumes import Volume

SERVER = "https://neurovault.org"
Ask = Callable[..., SearchResult]


def about(
    image: dict[str, Any] | None = None,
    collection: dict[str, Any] | None = None,
    kept: Kept | None = None,
) -> About:
    """What is known of a made-up map."""
    raw = {"id": 3, "collection_id": 1, **(image or {})}
    owner = {"id": 1, "name": "A study", **(collection or {})}
    return About(
        Image.from_json(raw, base_url=SERVER),
        Collection.from_json(owner),
        SERVER,
        kept or Kept(None),
    )


def row(text: str, name: str) -> str:
    """What stands behind a name, in one line."""
    lines = [line for line in text.splitlines() if line.split()[:1] == [name]]
    (line,) = lines
    return line.split(maxsplit=1)[1]


@pytest.fixture
def ask(server: NeuroVaultServer, data_dir: Path) -> Ask:
    def asked(**arguments: Any) -> SearchResult:
        return search(url=server.url, data_dir=data_dir, **arguments)

    return asked


# ---- the record -------------------------------------------------------------------


def test_it_can_be_used_as_a_record(ask: Ask) -> None:
    result = ask(collection_ids=[658])
    found = result[10426]
    image = next(each for each in result if each.id == 10426)
    assert found.image is image
    for name in (
        *("id", "collection_id", "image_type", "file", "metadata", "raw", "extra"),
        *("label", "discrete"),
    ):
        assert getattr(found, name) == getattr(image, name)
    assert found.collection.name.startswith("Functional localizer")


def test_it_is_a_value(ask: Ask) -> None:
    found = ask(collection_ids=[658])[10426]
    assert found == ask(collection_ids=[658])["10426"]
    assert pickle.loads(pickle.dumps(found)) == found
    with pytest.raises(AttributeError, match="cannot assign"):
        found.server = "elsewhere"  # type: ignore[misc]


def test_what_is_not_in_the_result(ask: Ask) -> None:
    with pytest.raises(KeyError, match=r"Image 7 is not in this result; \.keys\(\)"):
        ask(collection_ids=[658])[7]


# ---- text -------------------------------------------------------------------------


def test_values_stand_with_their_units() -> None:
    text = about(
        {"age": 31, "number_of_subjects": 20, "not_mni": False, "smoothness_fwhm": 7.5},
        {"field_strength": 3.0},
    ).text()
    assert row(text, "age") == "31 years"
    assert row(text, "number_of_subjects") == "20"
    assert row(text, "not_mni") == "no"
    assert row(text, "smoothness_fwhm") == "7.5 mm"
    assert row(text, "field_strength") == "3 tesla"
    assert "map_type" not in text


def test_units_are_those_of_the_schema() -> None:
    said = {each.name: each.description for each in (*IMAGE_FIELDS, *COLLECTION_FIELDS)}
    wrong = {n: u for n, u in UNITS.items() if u.rstrip("s") not in said[n]}
    assert wrong == {}


def test_custom_fields_stand_apart() -> None:
    text = about({"task": "n-back", "run": None, "weights": [1, float("nan")]}).text()
    lines = text.splitlines()
    place = lines.index("Custom fields")
    assert [line.split() for line in lines[place + 1 : place + 3]] == [
        ["task", "n-back"],
        ["weights", "[1,", "null]"],
    ]
    assert "run" not in text


def test_what_the_paper_is() -> None:
    paper = {
        "authors": "A. Author and B. Author.",
        "journal_name": "Journal",
        "DOI": "https://doi.org/10.5555/x.1",
    }
    cited = "A. Author and B. Author. A study. Journal. https://doi.org/10.5555/x.1"
    assert about(collection=paper).citation == cited
    preprint = about(collection={"preprint_DOI": "doi:10.5555/y"})
    assert preprint.citation == "A study. https://doi.org/10.5555/y"
    without = about()
    where = "https://neurovault.org/collections/1/"
    assert without.citation == f"A study. NeuroVault collection 1. {where}"
    assert "Gorgolewski et al. (2015)" in " ".join(without.text().split())
    assert "\n  licence     CC0 1.0, https://creativecommons.org/" in without.text()


def test_what_each_field_says_stands_beside_it_where_there_is_room() -> None:
    said = "subjects who went into the map"
    found = about({"number_of_subjects": 20})
    assert said not in found.text(119)
    assert said in found.text(120)


@given(
    st.text(max_size=40),
    st.dictionaries(st.text(max_size=50), st.text() | st.floats(), max_size=4),
    st.integers(20, 200),
)
def test_no_metadata_steer_the_terminal(
    name: str, custom: dict[str, Any], room: int
) -> None:
    found = about({**custom, "id": 3, "collection_id": 1, "name": name, "file": None})
    text = found.text(room)
    assert all(line.isprintable() or not line for line in shown_lines(text))
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


def shown_lines(text: str) -> list[str]:
    # NOTE: Python calls blanks other than the usual one unprintable.
    blanks = str.maketrans(dict.fromkeys("\u00a0\u1680\u202f\u205f\u3000", " "))
    joined = text.translate(blanks | dict.fromkeys(range(8192, 8203), " "))
    return joined.replace("\u200c", "").replace("\u200d", "").split("\n")


def test_lines_fit(ask: Ask) -> None:
    found = ask(collection_ids=[658])[10426]
    for room in (80, 119, 120, 200):
        pieces = ("://", str(found.kept.path))
        lines = found.text(room).splitlines()
        long = [line for line in lines if width(line) > room]
        assert [each for each in long if not any(p in each for p in pieces)] == []


def test_paths_stay_in_one_piece() -> None:
    path = Path("/a folder") / ("long " * 30) / "image_3.nii.gz"
    grid = OnGrid(path.with_suffix(""), "mni152-3mm", "continuous")
    kept = Kept(path, 5, "ab" * 32, 0.0, current=False, grids=(grid,), words=path)
    text = about(kept=kept).text(40)
    assert text.count(str(path)) == 2
    assert str(grid.path) in text
    assert "1970-01-01 00:00 UTC, SHA-256" in " ".join(text.split())
    assert "changed on the server since" in " ".join(text.split())


# ---- HTML -------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects the tags, links and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_the_same() -> None:
    found = about({"name": "<script>alert(1)</script>", "age": 31})
    page = Page(found._repr_html_())
    assert page.tags == {"table", "tbody", "tr", "th", "td", "a"}
    assert "Image 3: <script>alert(1)</script>" in page.texts
    assert "31 years" in page.texts
    assert "https://doi.org/10.3389/fninf.2015.00008" in page.links
    assert all(link and link.startswith("https://") for link in page.links)


def test_addresses_in_metadata_cannot_leave_their_quotes() -> None:
    url = 'https://a.org/"onmouseover="alert(1)'
    page = Page(about({"task": f"see {url}\nand <b>"})._repr_html_())
    assert page.tags == {"table", "tbody", "tr", "th", "td", "a", "br"}
    assert "https://a.org/" in page.links


# ---- the disk ---------------------------------------------------------------------


def test_what_is_on_disk(ask: Ask, server: NeuroVaultServer, data_dir: Path) -> None:
    result = ask(image_ids=[10426])
    before = result[10426]
    place = data_dir / "neurovault" / "collection_658" / "image_10426.nii.gz"
    assert (before.path, before.kept.path, before.kept.size) == (None, place, None)
    assert "not downloaded yet" in repr(before)
    result.read()
    server.clear_requests()
    after = result[10426]
    assert server.requests == []
    assert after.path == place
    assert after.kept.size == place.stat().st_size == after.metadata["file_size"]
    assert after.kept.current
    (grid,) = after.kept.grids
    assert grid.grid == "mni152-3mm, 61×73×61 voxels of 3 mm"
    assert (grid.path.is_file(), grid.interpolation) == (True, "continuous")
    assert f"SHA-256\n             {after.kept.sha256}" in repr(after)
    assert after.kept.verified == pytest.approx(place.stat().st_mtime, abs=60)


def test_a_file_that_others_brought_is_not_verified(ask: Ask, data_dir: Path) -> None:
    result = ask(image_ids=[10426])
    place = data_dir / "neurovault" / "collection_658" / "image_10426.nii.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half a file")
    found = result[10426]
    assert found.path == place
    assert (found.kept.size, found.kept.sha256) == (11, None)
    assert "not yet; it is read to its end when it is used" in repr(found)
    assert place.read_bytes() == b"half a file"


def test_nilearns_copy_and_words_are_found(ask: Ask, data_dir: Path) -> None:
    folder = data_dir / "neurovault" / "collection_658"
    folder.mkdir(parents=True)
    copy = folder / "image_10426_resampled.nii.gz"
    words = folder / "neurosynth_words_for_image_10426.json"
    copy.touch()
    words.touch()
    kept = ask(image_ids=[10426])[10426].kept
    assert (kept.resampled, kept.words) == (copy, words)


def test_what_changed_on_the_server_is_said(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    def found(mode: str) -> About:
        asked = {"url": fresh_server.url, "data_dir": data_dir, "mode": mode}
        result = search(image_ids=[10426], **asked)
        if mode == "download_new":
            result.fetch()
        return result[10426]

    assert found("download_new").kept.current
    fresh_server.archive.images[10426]["modify_date"] = "2030-01-01T00:00:00Z"
    assert found("update").kept.current is False


def test_of_a_frozen_map_only_its_bytes_count(
    fresh_server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    def ask(**arguments: Any) -> SearchResult:
        return search(url=fresh_server.url, data_dir=data_dir, **arguments)

    live = ask(image_ids=[10426])
    live.freeze(tmp_path / "x.yaml")
    frozen = ask(frozen=tmp_path / "x.lock.json")
    place = live[10426].path
    assert (frozen[10426].path, frozen[10426].kept.current) == (place, True)
    fresh_server.archive.replace_file(10426, Volume("spm3", 3, "faces"))
    ask(image_ids=[10426], mode="update").fetch()
    kept = frozen[10426].kept
    assert kept.path != place
    assert kept.path is not None
    assert hashlib.sha256(kept.path.read_bytes()).hexdigest() == kept.sha256
    kept.path.unlink()
    assert frozen[10426].path is None
    assert "not downloaded yet" in repr(frozen[10426])


def test_an_image_without_a_file() -> None:
    assert row(about().text().partition("On this disk")[2], "file") == (
        "NeuroVault has none"
    )


# ---- machines, and tokens ---------------------------------------------------------


def test_machines_get_the_same(ask: Ask) -> None:
    result = ask(image_ids=[10426])
    result.fetch()
    found = result[10426]
    read = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert read["id"] == 10426
    assert read["metadata"]["number_of_subjects"] == 66
    assert read["collection"]["DOI"] == "10.5555/sample.658"
    assert read["license"] == "CC0-1.0"
    assert read["disk"]["path"] == str(found.path)
    assert read["disk"]["sha256"] == found.kept.sha256
    assert None not in read["metadata"].values()


def test_no_token_is_shown(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", SECRET)
    for ref in (SECRET, "env:MY_TOKEN"):
        result = ask(collection_ids=[ref])
        result.fetch()
        found = result[90011]
        assert found.private
        assert "shown only to those who know the collection's token" in repr(found)
        shown = (repr(found), found._repr_html_(), json.dumps(found.to_json()))
        assert [each for each in shown if SECRET in each] == []
