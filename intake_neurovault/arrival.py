"""What has arrived of a body: in memory while it is little, then in a file."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

import numpy as np

from intake_neurovault.wholeness import SMALL

_BUFFER = 2**20  # most files are written in one call
_OWN = threading.local()


class Arrival:
    """What has arrived of a body: in memory while it is little, then in a file.

    A small file is checked before it is written, so it need not be read again. A thread
    receives one body at a time.

    Parameters
    ----------
    target : pathlib.Path
        The file.
    expected : int or None
        How many bytes there should be; None if that is not known.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, Arrival(Path(folder, "a"), 6) as arrival:
    ...     arrival.add(b"vox")
    ...     arrival.add(b"els")
    ...     whole = bytes(arrival.data or b"")
    ...     arrival.write()
    ...     Path(folder, "a").read_bytes() == whole
    True
    """

    def __init__(self, target: Path, expected: int | None) -> None:
        self.size = 0
        """How many bytes have arrived."""
        self._target = target
        self._files = ExitStack()
        self._sink: IO[bytes] | None = None
        # NOTE: what will not be little is not gathered first.
        self._room = _room_of_thread() if (expected or 0) <= SMALL else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def data(self) -> memoryview | None:
        """All of it, if it is in memory, until this thread receives the next."""
        return None if self._room is None else self._room[: self.size]

    def add(self, chunk: bytes) -> None:
        """Take a piece.

        Parameters
        ----------
        chunk : bytes
            The next bytes.

        Raises
        ------
        OSError
            If they are to be written, and cannot be.
        """
        start, self.size = self.size, self.size + len(chunk)
        if self._room is not None and self.size <= SMALL:
            self._room[start : self.size] = chunk
            return
        if self._sink is None:
            opened = self._target.open("wb", buffering=_BUFFER)
            self._sink = self._files.enter_context(opened)
            if self._room is not None:
                self._sink.write(self._room[:start])
                self._room = None
        self._sink.write(chunk)

    def write(self) -> None:
        """Have all of it in the file, when no more is to come.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        self._files.close()
        if self.data is not None:
            self._target.write_bytes(self.data)


def _room_of_thread() -> memoryview:
    """Give memory for one body at a time, which is taken as it fills.

    The same again for each body that a thread receives: new memory for each would take
    the system longer than the check, and of what many threads give back in turns much
    is never found again.
    """
    if not hasattr(_OWN, "room"):
        _OWN.room = np.empty(SMALL, np.uint8).data
    room: memoryview = _OWN.room
    return room
