from __future__ import annotations

import math

import pytest

from intake_neurovault.endpoint import (
    parse_hosts,
    parse_retries,
    parse_server,
    parse_timeout,
)
from intake_neurovault.errors import ArgumentError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://neurovault.org", "https://neurovault.org"),
        ("https://neurovault.org/", "https://neurovault.org"),
        ("https://neurovault.org/api", "https://neurovault.org"),
        (" https://neurovault.org/api// ", "https://neurovault.org"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("https://lab.org/mirror/api/", "https://lab.org/mirror"),
    ],
)
def test_servers(url: str, expected: str) -> None:
    assert parse_server(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "neurovault.org",
        "ftp://neurovault.org",
        "https://",
        "https:///api",
        "https://neurovault.org/?x=1",
        "https://neurovault.org/#x",
        "https://neuro vault.org",
        "https://neurovault.org:http",
        "https://neurovault.org:0",
        "http://[::1",
        None,
        7,
    ],
)
def test_what_is_no_server(url: object) -> None:
    with pytest.raises(ArgumentError, match="is not the address of a server"):
        parse_server(url)


def test_passwords_do_not_belong_into_the_address() -> None:
    with pytest.raises(ArgumentError, match=r"keep them in ~/\.netrc") as caught:
        parse_server("https://me:hunter2@lab.org")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [(30, 30.0), ("0.5", 0.5), (1e6, 1e6)])
def test_timeouts(value: object, expected: float) -> None:
    assert parse_timeout(value) == expected


@pytest.mark.parametrize(
    "value", [0, -1, math.inf, math.nan, True, None, "long", [1], 10**400]
)
def test_what_is_no_timeout(value: object) -> None:
    with pytest.raises(ArgumentError, match="is not a positive number of seconds"):
        parse_timeout(value)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), ("4", 4), (3.0, 3)])
def test_retries(value: object, expected: int) -> None:
    assert parse_retries(value) == expected


@pytest.mark.parametrize("value", [-1, 1.5, 101, math.inf, math.nan, True, None, "x"])
def test_what_is_no_number_of_retries(value: object) -> None:
    with pytest.raises(ArgumentError, match="is not a whole number from 0 to 100"):
        parse_retries(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((), ()),
        ("files.lab.org", ("files.lab.org",)),
        (["b.org:8000", "https://A.org/x", "a.org"], ("a.org", "b.org:8000")),
        ({"a.org": 1}, ("a.org",)),
    ],
)
def test_hosts(value: object, expected: tuple[str, ...]) -> None:
    assert parse_hosts(value) == expected


@pytest.mark.parametrize("value", [None, "", [""], [7], 7, "a.org:x", "a b", [None]])
def test_what_is_no_host(value: object) -> None:
    with pytest.raises(ArgumentError, match="is not the name of a host"):
        parse_hosts(value)
