"""What is known of records: merging, what a listing makes up for, two memories."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import image_file

from intake_neurovault.errors import ArgumentError, Failure
from intake_neurovault.known import digest, merged, note, recall, with_disk
from intake_neurovault.ledger import Ledger, StoredListing
from intake_neurovault.refs import Token
from intake_neurovault.sidecars import OnDisk

SERVER = "http://a.org"
LISTING = StoredListing(({"id": 3},), {"id": 12}, 1, 1.7e9, complete=True)

rows = st.lists(st.integers(1, 9).map(lambda number: {"id": number}), max_size=6)


def lost(number: int) -> Failure:
    return Failure(number, 12, "file:///x.json", "It is not readable.", 0)


@given(rows, rows)
def test_records_are_merged_once_each(
    listed: list[dict[str, Any]], more: list[dict[str, Any]]
) -> None:
    fresh = replace(LISTING, records=tuple(listed))
    found = [raw["id"] for raw in merged(fresh, more).records]
    assert sorted(found) == sorted({raw["id"] for raw in (*listed, *more)})
    assert found[: len(set(map(str, listed)))] == list(
        dict.fromkeys(raw["id"] for raw in listed)
    )


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_on_disk_adds_to_what_was_listed(complete: bool) -> None:
    page = Failure(None, 12, f"{SERVER}/api/", "A page failed.", 5)
    listing = replace(LISTING, complete=complete, failures=(page,))
    on_disk = OnDisk(({"id": 3, "old": True}, {"id": 5}), (lost(3), lost(7)))
    found = with_disk(listing, on_disk)
    assert found.records == ({"id": 3}, {"id": 5})
    assert found.complete is complete
    assert found.fetched == (1.7e9 if complete else 0)
    assert found.failures == ((page, lost(7)) if complete else (lost(7),))


def test_a_saved_listing_is_read_once_as_long_as_it_stays(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert recall(ledger, SERVER, 12) is None
    ledger.save_listing(SERVER, 12, LISTING)
    known = recall(ledger, SERVER, 12)
    assert known is not None
    assert (known.listing, known.by_id) == (LISTING, {3: {"id": 3}})
    assert recall(ledger, SERVER, 12) is known
    assert recall(ledger, SERVER, None) is None
    assert recall(ledger, "http://b.org", 12) is None
    ledger.save_listing(SERVER, 12, replace(LISTING, records=()))
    (path,) = tmp_path.rglob("collection_12.json")
    os.utime(path, ns=(7, 7))
    again = recall(ledger, SERVER, 12)
    assert again is not None
    assert again.by_id == {}
    path.write_bytes(b"{")
    assert recall(ledger, SERVER, 12) is None


def test_notes_are_kept_apart() -> None:
    file, other = image_file(3), image_file(3, modify_date="2025-01-01T00:00:00Z")
    note("http://notes.org", file)[:] = [{"id": 3}]
    assert note("http://notes.org", image_file(3)) == [{"id": 3}]
    assert note("http://notes.org", other) == []
    assert note("http://notes.org", 3) == []
    assert note("http://other.org", file) == []


def test_a_digest_stands_for_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NV_TOKEN", "ABCDEFGH")
    name = digest(Token(env="NV_TOKEN"))
    assert name == digest(Token(secret="ABCDEFGH"))
    assert name != digest(Token(secret="ABCDEFGI"))
    monkeypatch.delenv("NV_TOKEN")
    with pytest.raises(ArgumentError, match="NV_TOKEN"):
        digest(Token(env="NV_TOKEN"))
