"""A result in a real browser: nothing runs, nothing sticks out, all can be read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import BROWSER, THEMES, draw, measured
from drawn import difference

from intake_neurovault import search
from intake_neurovault.testing import Archive, NeuroVaultServer

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")

ATTACKS = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' autofocus onfocus=window.hacked=1 x='",
    "</style><script>document.title = 'hacked'</script>",
    "</bdi></div><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:window.hacked=1",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "{{constructor.constructor('window.hacked=1')()}}",
)
LONG = ("Pneumonoultramicroscopicsilicovolcanoconiosis" * 8, "all in one " * 60)
FIELDS = ("name", "description", "map_type", "modality", "analysis_level", "thumbnail")


def hostile_archive() -> Archive:
    """Every text that is shown attacks, or has no end."""
    archive = Archive()
    for number, text in enumerate((*ATTACKS, *LONG), start=1):
        archive.add_collection(f"{text} {number}", id=number)
        archive.add_image(number, b"", id=number)
        archive.edit_image(number, **dict.fromkeys(FIELDS, text))
    return archive


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Results in all states, from an archive that attacks and from a usual one."""
    folder = tmp_path_factory.mktemp("nilearn_data")
    with NeuroVaultServer(hostile_archive()) as evil, NeuroVaultServer() as usual:
        everything = {"image_terms": {}, "collection_terms": {}, "data_dir": folder}
        hostile = search(url=evil.url, **everything)
        parts = [hostile.search(image_ids=hostile.keys()[n:]) for n in (0, 6)]
        attack = {"image_terms": {"name": list(ATTACKS), "age": {"$gte": 200}}}
        empty = search(url=evil.url, **everything | attack)
        failing = search(
            url=usual.url, image_ids=[404, 10426, *range(410, 420)], errors="skip"
        )
        fine = search(url=usual.url, collection_ids=[658], data_dir=folder)
        assert [len(each) for each in (*parts, empty, failing, fine)] == [
            11,
            5,
            0,
            1,
            20,
        ]
        unsearched = search(url=evil.url, **everything | attack)
        results = [*parts, empty, failing, fine, unsearched]
        yield [result._repr_html_() for result in results]


def test_the_measure_sees_what_it_should() -> None:
    told = measured(
        '<div class="nv-result" style="width: 50px; color: #777; background: #888">'
        '<img src="x" onerror="window.hacked = 1"><script>document.title = "b"</script>'
        '<p style="width: 200px">text</p><a href="javascript:1">a</a></div>'
    )
    assert told["hacked"] == "1"
    assert told["title"] == "b"
    assert told["scripts"] == told["handlers"] == 1
    assert "javascript:1" in told["addresses"]
    assert set(told["cards"][0]["outside"]) == {"the card", "P"}
    assert told["cards"][0]["contrast"] < 2


def test_nothing_that_somebody_wrote_runs(pages: list[str]) -> None:
    told = measured(*pages)
    assert len(told["cards"]) == len(pages)
    assert told["hacked"] == "undefined"
    assert told["title"] == "untouched"
    assert told["scripts"] == told["handlers"] == 0
    assert [a for a in told["addresses"] if not a.startswith("http://127.0.0.1:")] == []
    # Pictures are loaded where there are some: by the browser, from the server.
    assert told["loaded"] >= 6


@pytest.mark.parametrize("width", [240, 420, 900, 1250])
def test_nothing_sticks_out(pages: list[str], width: int) -> None:
    cards = measured(*pages, width=width)["cards"]
    assert [card["outside"] for card in cards] == [[]] * len(pages)


@pytest.mark.parametrize("theme", THEMES)
def test_everything_can_be_read(pages: list[str], theme: str) -> None:
    body, kind = THEMES[theme]
    cards = measured(*pages, body=body)["cards"]
    assert min(card["texts"] for card in cards) >= 3
    # WCAG's bound for text of usual size.
    assert min(card["contrast"] for card in cards) >= 4.5
    grounds = {sum(card["ground"]) < 3 * 64 for card in cards}
    assert grounds == {kind == "dark"}


def test_the_readers_setting_decides_where_there_is_no_theme(pages: list[str]) -> None:
    dark = ("--blink-settings=preferredColorScheme=0",)
    told = measured(*pages, flags=dark)
    assert told["dark"]
    assert max(sum(card["ground"]) for card in told["cards"]) < 3 * 64
    assert min(card["contrast"] for card in told["cards"]) >= 4.5
    themed = measured(*pages, flags=dark, body=THEMES["Jupyter, light"][0])
    assert min(sum(card["ground"]) for card in themed["cards"]) > 3 * 192
    assert min(card["contrast"] for card in themed["cards"]) >= 4.5


def test_a_picture_of_it_is_small(tmp_path: Path) -> None:
    before = time.monotonic()
    draw(tmp_path / "result.png")
    assert time.monotonic() - before < 240
    assert 10_000 < (tmp_path / "result.png").stat().st_size <= 60_000
    # The README shows this picture; another browser has other fonts.
    assert difference(tmp_path / "result.png", "search_result.png") < 20
