"""How often a request is made: what may help after a failure, and how long to wait.

Knows nothing of HTTP libraries: whatever can be asked again is asked again here.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeVar

from intake_neurovault import halt
from intake_neurovault.errors import NeuroVaultError

logger = logging.getLogger(__name__)

T = TypeVar("T")

Kind = Literal["final", "passing", "broken", "slow"]
"""What may help: nothing; the same once more; the same or less; less, or time."""

_SYSTEM = random.SystemRandom()


@dataclass(frozen=True)
class Policy:
    """How long to wait, and how often to ask."""

    timeout: float = 30.0
    """Seconds to wait for a connection, and for each piece of an answer."""
    attempts: int = 5
    """How many requests are made at most."""
    backoff: float = 0.5
    """Seconds before the second request; doubled before each further one."""
    longest: float = 60.0
    """Seconds of the longest pause, also where the server asks for more."""
    broken: int | None = None
    """As `attempts`, after an internal error of the server; None: `attempts`."""
    slow: int | None = None
    """As `attempts`, after a request that timed out; None: `attempts`."""

    def allows(self, trouble: Trouble, made: int) -> bool:
        """Tell whether one more request is worth making.

        Parameters
        ----------
        trouble : Trouble
            What the last request met.
        made : int
            How many requests were made.

        Returns
        -------
        bool
            True if the trouble may pass and the limit is not reached.

        Examples
        --------
        >>> Policy(attempts=2).allows(Trouble(NeuroVaultError("busy"), "passing"), 1)
        True
        """
        limits = {"final": 1, "broken": self.broken, "slow": self.slow}
        limit = limits.get(trouble.kind)
        return made < min(self.attempts, self.attempts if limit is None else limit)

    def pause(self, made: int, asked: float | None = None) -> float:
        """Give the seconds to wait before the next request.

        Half of the exponential pause is random, so that many clients that failed
        together do not come back together.

        Parameters
        ----------
        made : int
            How many requests were made.
        asked : float, optional
            Seconds that the server asked for.

        Returns
        -------
        float
            At least what the server asked for, up to `longest`.

        Examples
        --------
        >>> Policy(longest=60).pause(1, asked=3600)
        60.0
        >>> 0.5 <= Policy(backoff=0.25).pause(3) <= 1.0
        True
        """
        pause = min(self.longest, self.backoff * 2.0 ** min(made - 1, 32))
        jittered = pause * _SYSTEM.uniform(0.5, 1.0)
        return max(jittered, min(float(self.longest), asked or 0.0))


@dataclass(frozen=True)
class Trouble:
    """Why a request gave nothing."""

    error: NeuroVaultError
    """What to raise, or to report."""
    kind: Kind = "final"
    """What may help."""
    wait: float | None = None
    """Seconds that the server asked to wait."""


def retry_after(text: str | None, now: datetime) -> float | None:
    """Read a ``Retry-After`` header.

    Parameters
    ----------
    text : str or None
        Seconds, or an HTTP date.
    now : datetime
        The time to which a date refers; timezone-aware.

    Returns
    -------
    float or None
        Seconds, never negative; None if there is no such header, or no sense
        in it.

    References
    ----------
    RFC 9110, section 10.2.3.

    Examples
    --------
    >>> retry_after("120", datetime.now(UTC))
    120.0
    >>> noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    >>> retry_after("Thu, 01 Jan 2026 12:00:30 GMT", noon)
    30.0
    """
    if text is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def persist(once: Callable[[int], T | Trouble], policy: Policy) -> T | Trouble:
    """Ask until there is an answer, or no sense in asking again.

    Parameters
    ----------
    once : callable
        Makes one request; called with 1, 2, ...
    policy : Policy
        How often, and how long to pause in between.

    Returns
    -------
    object or Trouble
        What `once` gave last. The error of a trouble says how many requests
        were made.

    Examples
    --------
    >>> persist(lambda number: f"request {number}", Policy())
    'request 1'
    """
    made = 1
    while True:
        outcome = once(made)
        if not isinstance(outcome, Trouble):
            return outcome
        if not policy.allows(outcome, made):
            outcome.error.attempts = made
            return outcome
        pause = policy.pause(made, outcome.wait)
        logger.info("asking again in %.1f s: %s", pause, outcome.error)
        halt.pause(pause)
        made += 1
