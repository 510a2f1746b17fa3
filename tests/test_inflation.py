"""Inflating whole gzip files: exactly one good member, or not surely so."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault import inflation
from intake_neurovault.inflation import DEFLATE, inflate

PLAIN = b"voxels of a map, " * 40
PACKED = gzip.compress(PLAIN, mtime=0)
# NOTE: what a machine without libdeflate does is tested on every machine.
WAYS = [inflation._streamed] + ([inflation._at_once] if DEFLATE else [])

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@every_way
@given(plain=st.binary(min_size=1, max_size=3000), level=st.integers(0, 9))
def test_one_member_gives_what_is_in_it(way, plain: bytes, level: int) -> None:
    packed = gzip.compress(plain, level, mtime=0)
    # NOTE: bytes that look like another member are left to the slower way.
    given_back = way(packed, len(plain))
    assert given_back in (
        [plain] if b"\x1f\x8b\x08" not in packed[1:] else [plain, None]
    )


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PACKED + gzip.compress(PLAIN[::-1], mtime=0), id="two members"),
        pytest.param(PACKED + bytes(8), id="zeros behind"),
        pytest.param(PACKED + b"junk" * 5, id="junk behind"),
        pytest.param(PACKED[:-1], id="cut"),
        pytest.param(PACKED[:-8], id="no trailer"),
        pytest.param(PACKED[:-6] + b"\0\0" + PACKED[-4:], id="another CRC"),
        pytest.param(PACKED[:40] + b"\xff" + PACKED[41:], id="a byte changed"),
        pytest.param(PACKED[:10], id="a header alone"),
        pytest.param(PLAIN, id="not gzip"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_is_left_to_those_who_can_say_what_it_is(data: bytes) -> None:
    assert inflate(data, 10**6) is None
    for way in WAYS:
        assert way(data, len(PLAIN)) is None


def test_what_follows_is_not_lost_unless_it_is_the_same() -> None:
    assert inflate(PACKED * 2, 10**6) in (None, PLAIN)


def test_no_more_comes_out_than_is_allowed() -> None:
    assert inflate(PACKED, len(PLAIN)) == PLAIN
    assert inflate(PACKED, len(PLAIN) - 1) is None


@every_way
@given(place=st.integers(0, len(PACKED) - 1), value=st.integers(1, 255))
def test_no_changed_byte_gives_other_contents(way, place: int, value: int) -> None:
    changed = bytearray(PACKED)
    changed[place] ^= value
    # NOTE: a name or a time in the header may change, and nothing is lost by it.
    assert way(changed, len(PLAIN)) in (None, PLAIN)
