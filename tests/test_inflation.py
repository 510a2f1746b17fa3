"""Inflating whole gzip files: exactly one good member, or not surely so."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.inflation import QUICKEST, STANDARD, Libraries, inflate

PLAIN = b"voxels of a map, " * 40
PACKED = gzip.compress(PLAIN, mtime=0)
LENGTH = PACKED[-4:]
# NOTE: what a machine without libdeflate or isal does is tested on every machine.
LIBRARIES = {
    "standard": STANDARD,
    "streams": Libraries(QUICKEST.streams),
    "quickest": QUICKEST,
}

every_library = pytest.mark.parametrize(
    "libraries", LIBRARIES.values(), ids=list(LIBRARIES)
)


@every_library
@given(plain=st.binary(min_size=1, max_size=3000), level=st.integers(0, 9))
def test_one_member_gives_what_is_in_it(
    libraries: Libraries, plain: bytes, level: int
) -> None:
    packed = gzip.compress(plain, level, mtime=0)
    # NOTE: bytes that look like another member are left to the slower way.
    given_back = inflate(packed, len(plain), libraries=libraries)
    assert given_back in (
        [plain] if b"\x1f\x8b\x08" not in packed[1:] else [plain, None]
    )


@every_library
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PACKED + gzip.compress(PLAIN[::-1], mtime=0), id="two members"),
        pytest.param(PACKED + bytes(8), id="zeros behind"),
        pytest.param(PACKED + b"junk" * 5, id="junk behind"),
        pytest.param(PACKED + b"junk" * 5 + LENGTH, id="junk, and the right length"),
        pytest.param(PACKED[:-1], id="cut"),
        pytest.param(PACKED[:-8], id="no trailer"),
        pytest.param(PACKED[:-8] + LENGTH, id="no CRC"),
        pytest.param(PACKED[:-30] + PACKED[-8:], id="a piece is missing"),
        pytest.param(PACKED[:-6] + b"\0\0" + LENGTH, id="another CRC"),
        pytest.param(PACKED[:-4] + b"\xa9\x02\0\0", id="one byte more declared"),
        pytest.param(PACKED[:-4] + b"\xa7\x02\0\0", id="one byte less declared"),
        pytest.param(PACKED[:40] + b"\xff" + PACKED[41:], id="a byte changed"),
        pytest.param(PACKED[:10], id="a header alone"),
        pytest.param(PLAIN, id="not gzip"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_is_left_to_those_who_can_say_what_it_is(
    libraries: Libraries, data: bytes
) -> None:
    assert inflate(data, 10**6, libraries=libraries) is None


@every_library
def test_what_follows_is_not_lost_unless_it_is_the_same(libraries: Libraries) -> None:
    assert inflate(PACKED * 2, 10**6, libraries=libraries) in (None, PLAIN)


@every_library
def test_no_more_comes_out_than_is_allowed(libraries: Libraries) -> None:
    assert inflate(PACKED, len(PLAIN), libraries=libraries) == PLAIN
    assert inflate(PACKED, len(PLAIN) - 1, libraries=libraries) is None


@every_library
def test_a_boast_takes_no_memory(libraries: Libraries) -> None:
    boast = PACKED[:-4] + b"\xff\xff\xff\x7f"
    tracemalloc.start()
    try:
        assert inflate(boast, 1 << 32, libraries=libraries) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@every_library
@given(place=st.integers(0, len(PACKED) - 1), value=st.integers(1, 255))
def test_no_changed_byte_gives_other_contents(
    libraries: Libraries, place: int, value: int
) -> None:
    changed = bytearray(PACKED)
    changed[place] ^= value
    # NOTE: a name or a time in the header may change, and nothing is lost by it.
    assert inflate(changed, len(PLAIN), libraries=libraries) in (None, PLAIN)
