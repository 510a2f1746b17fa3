"""The work, done with this package where only the standard library inflates gzip."""

from __future__ import annotations

import sys

# NOTE: Python takes a module that is None for one that is not installed.
sys.modules |= {"deflate": None, "isal": None}  # type: ignore[dict-item]

from benchmarks.ours import matrix  # noqa: E402

__all__ = ["matrix"]
