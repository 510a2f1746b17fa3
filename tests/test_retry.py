from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import ServerError
from intake_neurovault.retry import Policy, Trouble, persist, retry_after

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HASTY = Policy(attempts=4, backoff=0.0, broken=2, slow=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("0", 0.0),
        (" 17 ", 17.0),
        ("Thu, 01 Jan 2026 12:02:00 GMT", 120.0),
        ("Thu, 01 Jan 2026 14:02:00 +0200", 120.0),
        ("Thu, 01 Jan 2026 12:00:05 -0000", 5.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Thu, 99 Jan 2026 12:00:00 GMT", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(
    text: str | None, expected: float | None
) -> None:
    assert retry_after(text, NOON) == expected


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Za-z]{3} [0-9 :+]*"))
def test_nonsense_in_retry_after_is_never_an_error(text: str) -> None:
    seconds = retry_after(text, NOON)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**7))
def test_a_date_and_the_seconds_until_then_are_the_same(seconds: int) -> None:
    later = NOON + timedelta(seconds=seconds)
    assert retry_after(format_datetime(later, usegmt=True), NOON) == seconds
    assert retry_after(f"{seconds}", NOON) == seconds


@given(
    st.integers(1, 10_000),
    st.none() | st.floats(0, 1e9),
    st.floats(0, 10),
    st.floats(0.1, 100),
)
def test_a_pause_is_bounded_and_never_shorter_than_asked(
    made: int, asked: float | None, backoff: float, longest: float
) -> None:
    pause = Policy(backoff=backoff, longest=longest).pause(made, asked)
    assert min(asked or 0.0, longest) <= pause <= longest


def test_pauses_double_and_are_jittered() -> None:
    policy = Policy(backoff=1.0, longest=1000.0)
    pauses = [[policy.pause(made) for _ in range(50)] for made in (1, 2, 3)]
    for made, drawn in enumerate(pauses):
        assert 2**made / 2 <= min(drawn) < max(drawn) <= 2**made


@pytest.mark.parametrize(
    ("kind", "requests"), [("final", 1), ("passing", 4), ("broken", 2), ("slow", 1)]
)
def test_each_kind_of_trouble_has_its_own_patience(kind: str, requests: int) -> None:
    numbers: list[int] = []

    def once(number: int) -> Trouble:
        numbers.append(number)
        return Trouble(ServerError(f"request {number}"), kind)

    outcome = persist(once, HASTY)
    assert numbers == list(range(1, requests + 1))
    assert isinstance(outcome, Trouble)
    assert outcome.error.attempts == requests
    assert str(outcome.error) == f"request {requests}"


@pytest.mark.parametrize("kind", ["passing", "broken", "slow"])
def test_without_special_limits_all_kinds_get_all_attempts(kind: str) -> None:
    troubles = [Trouble(ServerError("busy"), kind)] * 2

    def once(number: int) -> Trouble | str:
        return troubles[number - 1] if number <= len(troubles) else "there"

    assert persist(once, Policy(attempts=3, backoff=0.0)) == "there"


def test_repetitions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def once(number: int) -> Trouble | int:
        return number if number > 1 else Trouble(ServerError("a is busy"), "passing")

    with caplog.at_level(logging.INFO, "intake_neurovault"):
        assert persist(once, Policy(backoff=0.0)) == 2
    assert caplog.messages == ["asking again in 0.0 s: a is busy"]
