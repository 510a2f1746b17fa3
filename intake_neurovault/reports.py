"""What came of verifying and of mending a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake_neurovault.findings import Finding
from intake_neurovault.mending import Mended
from intake_neurovault.tables import failure_table, finding_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Checkup:
    """What a verification found.

    Examples
    --------
    >>> Checkup(Path("/no/such/store")).whole
    True
    """

    root: Path
    """The store."""
    exists: bool = False
    """Whether there is such a folder."""
    files: int = 0
    """How many files were read to their end."""
    images: int = 0
    """How many of them are images."""
    bytes: int = 0
    """How large the files are together."""
    findings: tuple[Finding, ...] = ()
    """What is wrong."""
    swept: int = 0
    """How many abandoned temporaries were removed."""
    unchanged: str | None = None
    """Why nothing was moved or noted; None if the store was put in order."""

    @property
    def whole(self) -> bool:
        """Whether nothing serious was found."""
        return not any(finding.serious for finding in self.findings)

    @property
    def df(self) -> pd.DataFrame:
        """What is wrong, as a table."""
        return finding_table(self.findings)

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        content = {name: getattr(self, name) for name in Checkup.__annotations__}
        findings = [finding.to_json() for finding in self.findings]
        return content | {
            "root": str(self.root),
            "findings": findings,
            "whole": self.whole,
        }


@dataclass(frozen=True)
class Repair:
    """What a repair found, and what came of it.

    Examples
    --------
    >>> Repair(Checkup(Path("/no/such/store"))).whole
    True
    """

    before: Checkup
    """What was wrong before."""
    mended: Mended = field(default=Mended())
    """What was fetched again, and what was not."""
    after: tuple[Finding, ...] = ()
    """What is still wrong."""

    @property
    def whole(self) -> bool:
        """Whether everything could be had."""
        return not (self.after or self.mended.failures)

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had, and why, as a table."""
        return failure_table(self.mended.failures)

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        after = [finding.to_json() for finding in self.after]
        return {
            "before": self.before.to_json(),
            **self.mended.to_json(),
            "after": after,
            "whole": self.whole,
        }
