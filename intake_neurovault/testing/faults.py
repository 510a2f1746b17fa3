"""What can go wrong on purpose: which answers a fault spoils, and how."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from intake_neurovault.testing.messages import (
    Answer,
    Asked,
    html_error,
    html_page,
    redirect,
)

Kind = Literal[
    "429",
    "500",
    "502",
    "503",
    "bad_json",
    "bit_flip",
    "endless_body",
    "gzip",
    "html",
    "poison_row",
    "redirect_away",
    "redirect_loop",
    "reset",
    "reset_body",
    "short_body",
    "silent",
    "slow",
    "stall",
    "truncated_close",
    "wrong_size",
    "wrong_types",
]


@dataclass(frozen=True)
class Fault:
    r"""One thing that goes wrong, for the answers that it matches.

    Raises
    ------
    ValueError
        If its kind is none of those below.

    Notes
    -----
    The kinds, by what a client meets:

    ``429``, ``500``, ``502``, ``503``
        That status with an HTML body; 429 and 503 with ``Retry-After`` when
        `seconds` is given.
    ``html``
        An HTML page with status 200.
    ``bad_json``
        Half the body with a ``Content-Length`` that agrees: JSON that ends in the
        middle, or a file that is truncated on the server.
    ``wrong_types``
        JSON of another shape: text for ``count``, an object for ``results``, a list
        for a record.
    ``wrong_size``
        Every record's ``file_size`` is one byte more than the file.
    ``poison_row``
        The record of `image_id`, and every page that holds it, is a 500.
    ``redirect_loop``, ``redirect_away``
        302 to itself, or to `location`.
    ``gzip``
        The body compressed, with ``Content-Encoding: gzip``.
    ``bit_flip``
        One bit in the middle of the body is wrong.
    ``short_body``, ``truncated_close``
        Half the body, with the ``Content-Length`` of the whole, or with none.
    ``endless_body``
        The body again and again without a length, up to 64 MiB.
    ``stall``, ``silent``
        The headers and half the body, or nothing at all, then a wait of `seconds`
        (60 when left out), cut short when the server closes.
    ``slow``
        The right answer, `seconds` late.
    ``reset``, ``reset_body``
        The connection is reset before the answer, or in the middle of its body.

    Examples
    --------
    >>> fault = Fault(match=r"/media/images/", kind="short_body", times=1)
    >>> fault.after
    0
    """

    match: str = ""
    """Regular expression searched in path and query."""
    kind: Kind = "500"
    """What happens, see the notes."""
    times: int | None = None
    """How many answers are spoilt; None for all."""
    after: int = 0
    """How many matching answers are left alone first."""
    seconds: float | None = None
    """How long, for the kinds that wait; the value of ``Retry-After``."""
    image_id: int | None = None
    """The image of a ``poison_row``."""
    location: str = ""
    """Where ``redirect_away`` leads."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            kinds = ", ".join(get_args(Kind))
            msg = f"kind={self.kind!r} is no fault; it is one of {kinds}."
            raise ValueError(msg)

    def concerns(self, asked: Asked, answer: Answer) -> bool:
        """Tell whether this answer is one that the fault is about.

        Parameters
        ----------
        asked : Asked
            The request.
        answer : Answer
            What would go back.

        Returns
        -------
        bool
        """
        if self.kind == "poison_row" and self.image_id not in answer.image_ids:
            return False
        return re.search(self.match, asked.target) is not None


class Faults:
    """The faults of a server, in order; may be changed while it answers.

    Examples
    --------
    >>> faults = Faults()
    >>> faults.append(Fault(match="/media/", kind="reset", times=2))
    >>> len(faults)
    1
    >>> faults.clear()
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[tuple[Fault, list[Asked]]] = []

    def append(self, fault: Fault) -> None:
        """Switch a fault on.

        Parameters
        ----------
        fault : Fault
            What is to go wrong from now on.
        """
        with self._lock:
            self._entries.append((fault, []))

    def clear(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Fault]:
        return iter([fault for fault, _ in self._entries])

    def pick(self, asked: Asked, answer: Answer) -> Fault | None:
        """Find the fault that spoils this answer, and count it.

        Parameters
        ----------
        asked : Asked
            The request.
        answer : Answer
            What would go back.

        Returns
        -------
        Fault or None
            The first that is due.
        """
        with self._lock:
            for fault, met in self._entries:
                if not fault.concerns(asked, answer):
                    continue
                met.append(asked)
                spoilt = len(met) - fault.after
                if spoilt > 0 and (fault.times is None or spoilt <= fault.times):
                    return fault
        return None


def spoil(fault: Fault, asked: Asked, answer: Answer) -> Answer:
    """Apply the part of a fault that changes what is said.

    Parameters
    ----------
    fault : Fault
        The fault; the kinds that only concern the connection change nothing here.
    asked : Asked
        The request.
    answer : Answer
        The right answer.

    Returns
    -------
    Answer
        The answer that is given instead.
    """
    change = _CHANGES.get(fault.kind)
    return answer if change is None else change(fault, asked, answer)


def _status(fault: Fault, asked: Asked, _: Answer) -> Answer:
    status = 500 if fault.kind == "poison_row" else int(fault.kind)
    answer = html_error(asked, status)
    if fault.seconds is None or status not in (429, 503):
        return answer
    return replace(
        answer, headers={**answer.headers, "Retry-After": f"{fault.seconds:g}"}
    )


def _html(_: Fault, asked: Asked, __: Answer) -> Answer:
    page = "<!DOCTYPE html>\n<html><body>Down for maintenance</body></html>\n"
    return html_page(asked, page)


def _redirect(fault: Fault, asked: Asked, _: Answer) -> Answer:
    away = fault.kind == "redirect_away"
    return redirect(asked, fault.location if away else asked.target, 302)


def _body(change: Callable[[bytes], bytes]) -> Callable[[Fault, Asked, Answer], Answer]:
    def changed(_: Fault, __: Asked, answer: Answer) -> Answer:
        return replace(answer, body=change(answer.content()), payload=None)

    return changed


def _flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]


def _halve(body: bytes) -> bytes:
    return body[: len(body) // 2]


def _compress(fault: Fault, asked: Asked, answer: Answer) -> Answer:
    packed = _body(gzip.compress)(fault, asked, answer)
    return replace(packed, headers={**packed.headers, "Content-Encoding": "gzip"})


def _payload(
    change: Callable[[Mapping[str, Any]], object],
) -> Callable[[Fault, Asked, Answer], Answer]:
    def changed(_: Fault, __: Asked, answer: Answer) -> Answer:
        if not isinstance(answer.payload, Mapping):
            return answer
        return replace(answer, payload=change(answer.payload))

    return changed


def _reshape(payload: Mapping[str, Any]) -> object:
    if "results" not in payload:
        return [payload]
    return {**payload, "count": "many", "results": {"0": payload["results"]}}


def _grow(payload: Mapping[str, Any]) -> object:
    if "results" in payload:
        return {**payload, "results": [_grow(row) for row in payload["results"]]}
    if payload.get("file_size") is None:
        return payload
    return {**payload, "file_size": payload["file_size"] + 1}


_CHANGES: Mapping[str, Callable[[Fault, Asked, Answer], Answer]] = {
    "429": _status,
    "500": _status,
    "502": _status,
    "503": _status,
    "poison_row": _status,
    "html": _html,
    "redirect_away": _redirect,
    "redirect_loop": _redirect,
    "bit_flip": _body(_flip),
    "bad_json": _body(_halve),
    "gzip": _compress,
    "wrong_types": _payload(_reshape),
    "wrong_size": _payload(_grow),
}
