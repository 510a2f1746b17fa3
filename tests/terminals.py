"""A terminal of a chosen width, with a command in it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from subprocess import Popen

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = "from intake_neurovault.cli import main; main(prog_name='neurovault')"


@dataclass(frozen=True)
class Shown:
    """What a terminal has shown."""

    code: int
    """The exit code of the command."""
    text: str
    """Everything, escapes of progress bars included."""

    @property
    def lines(self) -> list[str]:
        """The lines that stand in the end; bars are drawn over."""
        plain = ESCAPE.sub("", self.text.replace("\r\n", "\n"))
        return [line.rpartition("\r")[2] for line in plain.split("\n")]


def command(*arguments: str) -> list[str]:
    """The command in a fresh interpreter, where warnings are errors."""
    return [sys.executable, "-W", "error", "-c", COMMAND, *arguments]


def in_terminal(width: int, *arguments: str, env: Mapping[str, str]) -> Shown:
    """Run the installed command where somebody looks."""
    return watched(width, command(*arguments), env)


def watched(width: int, arguments: Sequence[str], env: Mapping[str, str]) -> Shown:
    """Run any command where somebody looks."""
    outer, inner = pty.openpty()
    size = struct.pack("HHHH", 40, width, 0, 0)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
    plain = {name: value for name, value in env.items() if name != "COLUMNS"}
    with Popen(
        arguments, stdin=inner, stdout=inner, stderr=inner, env=plain
    ) as process:
        os.close(inner)
        text = b""
        while piece := _read(outer):
            text += piece
        code = process.wait(300)
    os.close(outer)
    return Shown(code, text.decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody holds its other end
        return b""
