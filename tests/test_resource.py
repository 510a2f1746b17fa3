from __future__ import annotations

import pytest

from intake_neurovault.resource import Resource, host_of, without_token


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://neurovault.org", "neurovault.org"),
        ("HTTP://NeuroVault.org:80/x?y#z", "neurovault.org"),
        ("https://neurovault.org:443/", "neurovault.org"),
        ("//files.lab.org/x", "files.lab.org"),
        ("files.lab.org", "files.lab.org"),
        ("files.lab.org:8000", "files.lab.org:8000"),
        ("http://user:secret@lab.org:8000/", "lab.org:8000"),
        ("http://[::1]:8000/x", "::1:8000"),
        ("", ""),
    ],
)
def test_host_is_found_in_addresses_and_names(address: str, host: str) -> None:
    assert host_of(address) == host


def test_a_port_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="Port could not be cast"):
        host_of("http://lab.org:http/")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/api/collections/ABCDEFGH/", "/api/collections/<token>/"),
        ("/api/collections/ABCDEFGH", "/api/collections/<token>"),
        (
            "http://a.org/api/collections/ABCDEFGH/images/?limit=1",
            "http://a.org/api/collections/<token>/images/?limit=1",
        ),
        ("http://a.org/api/images/ABCDEFGH-12/", "http://a.org/api/images/<token>-12/"),
        ("/media/images/ABCDEFGH/x.nii.gz", "/media/images/<token>/x.nii.gz"),
        ("/media/images/12/ABCDEFGH.nii.gz", "/media/images/12/ABCDEFGH.nii.gz"),
        ("/media/images/12/ABCDEFGH/x.nii.gz", "/media/images/12/ABCDEFGH/x.nii.gz"),
        ("/api/collections/12/", "/api/collections/12/"),
    ],
)
def test_tokens_are_taken_out_where_the_server_has_them(url: str, shown: str) -> None:
    assert without_token(url) == shown


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("https://lab.org/elsewhere", True),
        ("http://LAB.org:80/", True),
        ("https://files.lab.org/x", True),
        ("https://other.org:8000/x", True),
        ("https://other.org/x", False),
        ("https://lab.org:8000/x", False),
        ("https://lab.org.evil.org/", False),
        ("ftp://lab.org/x", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_redirects_are_followed_to_trusted_hosts_only(
    target: str, allowed: bool
) -> None:
    trusted = ("files.lab.org", "https://other.org:8000/")
    resource = Resource("https://lab.org/x", "https://lab.org/x", "X", trusted)
    assert resource.may_lead_to(target) is allowed


def test_the_address_is_not_in_the_repr() -> None:
    resource = Resource("http://a.org/ABCDEFGH/", "http://a.org/<token>/", "X")
    assert resource.secret
    assert "ABCDEFGH" not in repr(resource)
    assert not Resource("http://a.org/", "http://a.org/", "X").secret
