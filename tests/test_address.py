from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.address import Address, locate, quoted
from intake_neurovault.errors import AnswerError

SERVER = "https://neurovault.org"

NAMES = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=["Cs", "Cc"]),
    min_size=1,
).filter(lambda name: name not in (".", "..") and name == name.strip())


@pytest.mark.parametrize(
    ("given_path", "path"),
    [
        ("/1/plain.nii.gz", "/1/plain.nii.gz"),
        ("/1/with space.nii.gz", "/1/with%20space.nii.gz"),
        ("/1/with%20space.nii.gz", "/1/with%20space.nii.gz"),
        ("/1/with%2520literal.nii.gz", "/1/with%2520literal.nii.gz"),
        ("/1/100%.nii.gz", "/1/100%25.nii.gz"),
        ("/1/100%zz.nii.gz", "/1/100%25zz.nii.gz"),
        ("/1/100%25 .nii.gz", "/1/100%25%20.nii.gz"),
        ("/1/a+b&c=d.nii.gz", "/1/a+b&c=d.nii.gz"),
        ("/1/a%2Bb%26.nii.gz", "/1/a%2Bb%26.nii.gz"),
        ("/1/a#b.nii.gz", "/1/a%23b.nii.gz"),
        ("/1/a%23b.nii.gz", "/1/a%23b.nii.gz"),
        ("/1/é脳.nii.gz", "/1/%C3%A9%E8%84%B3.nii.gz"),
        ("/1/(p)[b]{c}~!@$^,.nii.gz", "/1/(p)%5Bb%5D%7Bc%7D~!@$%5E,.nii.gz"),
        ("/1/q'\"`.nii.gz", "/1/q'%22%60.nii.gz"),
        ("/1/back\\slash.nii.gz", "/1/back%5Cslash.nii.gz"),
        ("/1/line\nbreak.nii.gz", "/1/line%0Abreak.nii.gz"),
        ("", ""),
    ],
)
def test_paths_are_quoted_once(given_path: str, path: str):
    assert quoted(given_path) == path
    assert quoted(path) == path


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoting_is_done_once_and_gives_ascii(text: str):
    once = quoted(text)
    assert once.isascii()
    assert quoted(once) == once
    assert unquote(once) == unquote(text)


@given(NAMES)
def test_what_a_server_quotes_stays_as_the_server_has_it(name: str):
    path = f"/media/images/7/{quote(name)}"
    url = f"http://neurovault.org{path}"
    assert locate(url, server=SERVER) == Address(path, None)


@pytest.mark.parametrize(
    ("url", "server", "page"),
    [
        ("https://neurovault.org/m/t.nii", SERVER, None),
        ("http://neurovault.org/m/t.nii", SERVER, None),
        ("HTTPS://NeuroVault.ORG/m/t.nii", SERVER, None),
        ("https://www.neurovault.org/m/t.nii", SERVER, None),
        ("http://neurovault.org:80/m/t.nii", SERVER, None),
        ("https://neurovault.org:443/m/t.nii", SERVER, None),
        ("http://neurovault.org/m/t.nii", "http://localhost:8000", None),
        ("http://localhost:8000/m/t.nii", "http://localhost:8000", None),
        ("https://LOCALHOST:8000/m/t.nii", "http://localhost:8000", None),
        ("http://localhost/m/t.nii", "http://localhost:8000", "http://localhost/i/1/"),
        ("https://inside/m/t.nii", "https://mirror.org", "http://inside/i/1/"),
        ("/m/t.nii", SERVER, None),
        ("m/t.nii", SERVER, None),
        ("  https://neurovault.org/m/t.nii\n", SERVER, None),
        ("https://lab.org/nv/m/t.nii", "https://lab.org/nv", None),
        ("https://neurovault.org/m/t.nii", "https://lab.org/nv", None),
    ],
)
def test_files_of_the_server(url: str, server: str, page: str | None):
    assert locate(url, server=server, page=page) == Address("/m/t.nii", None)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://other.org/m/t.nii", "https://other.org"),
        ("http://Other.org:80/m/t.nii", "http://other.org"),
        ("http://other.org:8080/m/t.nii", "http://other.org:8080"),
        ("http://neurovault.org:8080/m/t.nii", "http://neurovault.org:8080"),
        ("https://neurovault.org.evil.com/m/t.nii", "https://neurovault.org.evil.com"),
        ("https://evilneurovault.org/m/t.nii", "https://evilneurovault.org"),
        ("http://[::1]:80/m/t.nii", "http://[::1]"),
    ],
)
def test_files_on_another_host(url: str, host: str):
    page = "https://neurovault.org/images/1/"
    assert locate(url, server=SERVER, page=page) == Address("/m/t.nii", host)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("..dots...nii.gz", "/1/..dots...nii.gz"),
        ("map.nii.gz.nii.gz", "/1/map.nii.gz.nii.gz"),
        ("no_extension", "/1/no_extension"),
        ("sub%20dir/deep.nii.gz", "/1/sub%20dir/deep.nii.gz"),
        ("a.nidm/T.nii.gz", "/1/a.nidm/T.nii.gz"),
        ("a#1 b.nii.gz", "/1/a%231%20b.nii.gz"),
        ("a#1/b#2.nii.gz", "/1/a%231/b%232.nii.gz"),
        ("semi%3Bcolon%3A.nii.gz", "/1/semi%3Bcolon%3A.nii.gz"),
        ("semi;colon:.nii.gz", "/1/semi;colon:.nii.gz"),
        ("what%3F.nii.gz", "/1/what%3F.nii.gz"),
        ("signed.nii.gz?key=a b/../c", "/1/signed.nii.gz?key=a%20b/../c"),
        ("signed.nii.gz?", "/1/signed.nii.gz"),
    ],
)
def test_names_of_files(name: str, path: str):
    assert locate(f"{SERVER}/1/{name}", server=SERVER) == Address(path, None)


@pytest.mark.parametrize(
    "url",
    [
        f"{SERVER}/media/../secret.nii.gz",
        f"{SERVER}/media/..",
        f"{SERVER}/..%2Fsecret.nii.gz",
        f"{SERVER}/media/%2e%2E/secret.nii.gz",
        f"{SERVER}/media/..\\secret.nii.gz",
        f"{SERVER}/media/%2E.%5Csecret.nii.gz",
        "../secret.nii.gz",
        f"{SERVER}/media/images/",
        SERVER,
        f"{SERVER}/",
        "/",
        "https:///t.nii.gz",
        "https://",
        "ftp://neurovault.org/t.nii.gz",
        "file:///etc/passwd",
        "javascript:alert(1)/t.nii.gz",
        "//other.org/t.nii.gz",
        "https://neurovault.org@evil.com/t.nii.gz",
        "https://[::1/t.nii.gz",
        "https://other.org:port/t.nii.gz",
        "https://other.org:99999/t.nii.gz",
        "https://other.org:0/t.nii.gz",
        f"{SERVER}/\ud800.nii.gz",
    ],
    ids=ascii,
)
def test_what_is_no_address_of_a_file(url: str):
    with pytest.raises(AnswerError, match="as the address of a file, which cannot be"):
        locate(url, server=SERVER)


def test_a_refusal_shows_no_password():
    with pytest.raises(AnswerError, match=r"'evil\.com/t\.nii\.gz'"):
        locate("https://user:hunter2@evil.com/t.nii.gz", server=SERVER)


@given(st.text())
def test_any_text_gives_a_harmless_address_or_a_refusal(text: str):
    try:
        path, host = locate(text, server=SERVER)
    except AnswerError:
        return
    assert path.startswith("/")
    assert path.isascii()
    assert ".." not in unquote(path.partition("?")[0]).replace("\\", "/").split("/")
    assert host is None or host.startswith(("http://", "https://"))
