"""A result as HTML: what stands in it, in which state, and what never does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import SECRET

import intake_neurovault
from intake_neurovault import SearchResult, search
from intake_neurovault.errors import Failure, MissingError
from intake_neurovault.found import Found
from intake_neurovault.portrait import Portrait
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import Token
from intake_neurovault.testing import Fault, NeuroVaultServer

Ask = Callable[..., SearchResult]

SERVER = "https://neurovault.org"
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&\u202e\x00\ud800"


@pytest.fixture
def ask(fresh_server: NeuroVaultServer, data_dir: Path) -> Ask:
    def ask(**arguments: Any) -> SearchResult:
        settings = {"url": fresh_server.url, "data_dir": data_dir, "retries": 0}
        return search(**(settings | arguments))

    return ask


def portrait(*, token: Token | None = None, **fields: Any) -> Portrait:
    """Make the portrait of a result with one image."""
    about = fields.pop("about", {})
    raw = {"id": 3, "collection_id": 12, **fields}
    image = Image.from_json(raw, base_url=SERVER, token=token)
    home = Collection.from_json({"id": 12, **about}, token=token)
    found = Found((image,), {12: home}, (), (), None, truncated=False)
    trusted = ("files.lab.org",)
    return Portrait("1 image", "images", found, url=SERVER, trusted_hosts=trusted)


def tags(page: str) -> set[str]:
    return set(re.findall(r"<(\w+)", page))


# ---- states ----------------------------------------------------------------------


def test_before_a_search_the_query_is_shown_and_nothing_asked(
    ask: Ask, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    page = ask(image_terms={"name": "<b>"})._repr_html_()
    assert "not searched yet" in page
    assert "name is &quot;&lt;b&gt;&quot;" in page
    assert "<img" not in page
    assert fresh_server.requests == []
    assert list(data_dir.iterdir()) == []


def test_what_was_found_is_counted_and_shown_without_a_request(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    result = ask(collection_ids=[658, 1952])
    table = result.df
    fresh_server.clear_requests()
    page = result._repr_html_()
    assert fresh_server.requests == []
    assert f"{len(table)} images" in page
    for column in ("map_type", "modality", "analysis_level"):
        assert f">{column.replace('_', ' ')}</p>" in page
        for value, number in table[column].value_counts().items():
            assert f"<bdi>{value}</bdi></span><span>{number}</span>" in page
    assert page.count('loading="lazy"') == page.count("<img") == 6
    assert page.count(f'src="{fresh_server.url}/media/images/658/') == 6
    assert f'href="{fresh_server.url}/images/10410/"' in page
    assert "could not be had" not in page
    assert "max_images" not in page
    assert "max_images" in result.search(max_images=2)._repr_html_()


def test_many_values_are_summed_up() -> None:
    raws = [{"id": n, "collection_id": 1, "modality": f"m{n}"} for n in range(1, 10)]
    images = tuple(Image.from_json(raw, base_url=SERVER) for raw in raws)
    homes = {1: Collection.from_json({"id": 1})}
    found = Found(images, homes, (), (), None, truncated=False)
    page = Portrait("9 images", "images", found).html()
    assert "<span>3 others</span><span>3</span>" in page
    assert "<bdi>(not given)</bdi></span><span>9</span>" in page
    assert "m6" in page
    assert "m7" not in page


def test_of_an_empty_result_the_term_to_blame_is_named(ask: Ask) -> None:
    result = ask(collection_ids=[658], image_terms={"number_of_subjects": {"$gt": 999}})
    assert len(result) == 0
    assert "number_of_subjects &gt; 999" in result._repr_html_()
    assert "alone removed 20 records" in result._repr_html_()


def test_what_failed_is_told(ask: Ask, fresh_server: NeuroVaultServer) -> None:
    result = ask(image_ids=[10426, 404404], errors="skip")
    assert len(result) == 1
    assert "1 could not be had" in result._repr_html_()
    assert "image 404404" in result._repr_html_()
    place = result[10426].file.path
    fresh_server.faults.append(Fault(match=place, kind="html"))
    result.fetch()
    assert "2 could not be had" in result._repr_html_()
    raised = ask(image_ids=[404404])
    with pytest.raises(MissingError, match="404404"):
        raised.keys()
    fresh_server.clear_requests()
    assert "1 could not be had" in raised._repr_html_()
    assert fresh_server.requests == []


def test_a_long_list_of_failures_is_cut() -> None:
    failures = [Failure(n, 1, "", f"<Gone {n}>", 1) for n in range(1, 1009)]
    places = [Failure(None, 7, "", "No page.", 1), Failure(None, None, "", "No.", 1)]
    page = Portrait("0 images", "images", None, [*places, *failures]).html()
    assert "1,010 could not be had" in page
    assert "collection 7" in page
    assert "the search" in page
    assert "&lt;Gone 3&gt;" in page
    assert "&lt;Gone 4&gt;" not in page
    assert "and 1,005 more" in page


def test_offline_no_picture_is_asked_for(ask: Ask) -> None:
    assert len(ask(collection_ids=[658])) == 20
    offline = ask(collection_ids=[658], mode="offline")
    assert len(offline) == 20
    page = offline._repr_html_()
    assert "<img" not in page
    assert "20 of them not on disk" in page
    assert "last listed" in page


def test_a_source_shows_its_result(ask: Ask) -> None:
    settings = ask(collection_ids=[658]).to_arguments()
    source = intake_neurovault.NeuroVaultSource(**settings)
    source.name, source.description = "<i>a", "b & c"
    assert len(source) == 20
    page = source._repr_html_()
    assert "<b>&lt;i&gt;a</b>: b &amp; c" in page
    assert page.endswith(source.result._repr_html_())
    assert "20 images" in page


# ---- what somebody else wrote ----------------------------------------------------


@pytest.mark.parametrize(
    "field",
    ["name", "map_type", "modality", "analysis_level", "image_type", "description"],
)
def test_metadata_are_text(field: str) -> None:
    plain = portrait(name="a", thumbnail="/t.png").html()
    page = portrait(**{"name": "a", "thumbnail": "/t.png", field: EVIL}).html()
    assert tags(page) == tags(plain)
    assert page.count("<img") == 1
    assert page.count("onerror") == page.count(" onerror=alert(2)&gt;")
    assert page.encode()
    assert "\x00" not in page


def test_names_of_collections_queries_and_reasons_are_text() -> None:
    failures = [Failure(3, 1, EVIL, EVIL, 1)]
    shown = portrait(about={"name": EVIL}).found
    page = Portrait(EVIL, EVIL, shown, failures, url=SERVER).html()
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") >= 4


def test_formulas_are_text() -> None:
    page = portrait(name=r"$\href{javascript:alert(1)}{x}$").html()
    (root,) = re.findall(r'<div class="(nv-result [^"]*)"', page)
    # What MathJax 2 and 3 leave alone.
    assert {"tex2jax_ignore", "mathjax_ignore"} <= set(root.split())


@pytest.mark.parametrize(
    ("number", "text"), [(1, "· 1 subject<"), (20, "· 20 subjects<"), (None, "Z map<")]
)
def test_subjects_are_counted(number: int | None, text: str) -> None:
    assert text in portrait(map_type="Z map", number_of_subjects=number).html()


def test_endless_text_is_cut() -> None:
    page = portrait(name="x" * 100_000, about={"name": "y" * 100_000}).html()
    assert len(page) < 12_000
    assert "x…</bdi>" in page


@pytest.mark.parametrize(
    ("thumbnail", "address"),
    [
        ("https://neurovault.org/media/images/12/a.jpg", "/media/images/12/a.jpg"),
        ("http://neurovault.org/media/a b#1.jpg", "/media/a%20b%231.jpg"),
        ("http://www.neurovault.org/a.jpg", "/a.jpg"),
        ("/media/a.jpg", "/media/a.jpg"),
        ("/media/a\".jpg", "/media/a%22.jpg"),
        ("/media/a'&.jpg", "/media/a&#x27;&amp;.jpg"),
    ],
)  # fmt: skip
def test_pictures_of_the_server_are_loaded_from_it(
    thumbnail: str, address: str
) -> None:
    page = portrait(thumbnail=thumbnail).html()
    assert f'src="{SERVER}{address}"' in page


def test_pictures_of_trusted_hosts_are_loaded() -> None:
    page = portrait(thumbnail="https://files.lab.org/a.png").html()
    assert 'src="https://files.lab.org/a.png"' in page


@pytest.mark.parametrize(
    "thumbnail",
    [
        None,
        "",
        "none",
        7,
        ["/a.jpg"],
        "https://evil.org/a.jpg",
        "https://files.lab.org.evil.org/a.jpg",
        "https://files.lab.org:99x/a.jpg",
        "https://files.lab.org:8000/a.jpg",
        "https://neurovault.org@evil.org/a.jpg",
        "//evil.org/a.jpg",
        "javascript:alert(1)",
        " javascript:alert(1)//neurovault.org/a.jpg",
        "data:image/svg+xml,<svg onload=alert(1)>/a",
        "file:///etc/passwd",
        "ftp://neurovault.org/a.jpg",
        "/../../a.jpg",
        "/media/images/ABCDEFGH/a.jpg",
        "/",
    ],
)
def test_other_pictures_are_not_loaded(thumbnail: Any) -> None:
    page = portrait(thumbnail=thumbnail).html()
    assert "<img" not in page
    assert "src=" not in page
    assert "no picture" in page


def test_a_record_cannot_make_a_host_the_server() -> None:
    page = portrait(
        thumbnail="https://evil.org/a.jpg", url="https://evil.org/images/3/"
    ).html()
    assert f'src="{SERVER}/a.jpg"' in page
    assert "evil.org" not in page


def test_of_a_private_collection_neither_token_nor_dead_addresses_are_shown(
    ask: Ask,
) -> None:
    result = ask(collection_ids=SECRET)
    assert len(result) > 0
    page = result._repr_html_()
    assert SECRET not in page
    assert "src=" not in page
    assert "href=" not in page
    page = portrait(thumbnail="/a.jpg", token=Token(env="OURS")).html()
    assert "<img" not in page
