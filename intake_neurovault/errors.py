"""Every error and warning of the package, and the record of one failure.

::

    NeuroVaultError
    ├── ArgumentError (ValueError)            a value that cannot be understood
    │   ├── FilterError                       a filter on metadata
    │   ├── GridError                         a grid: name, resolution, affine, shape
    │   └── LockError                         a lock of frozen images: absent, altered
    ├── UnknownArgumentError (TypeError)      an argument that does not exist
    ├── EmptyResultError (LookupError)        a query that matched nothing
    ├── ExtraError (ImportError)              an optional package that is not installed
    ├── GeometryError (ValueError)            maps that do not fit together, or not 3-D
    ├── UnsuitableError (ValueError)          maps that a meta-analysis cannot take
    ├── MissingError (FileNotFoundError)      NeuroVault has no such thing
    ├── PrivateError (PermissionError)        NeuroVault has it, but not for everybody
    ├── ServerError (OSError)                 the server failed to answer
    │   ├── UnreachableError (ConnectionError)    no connection, or no answer in time
    │   └── AnswerError (ValueError)              an answer that is not NeuroVault's
    ├── OfflineError (FileNotFoundError)      not in the store, and asked not to look
    ├── ChangedError (FileNotFoundError)      frozen images that are no longer to be had
    ├── WordsError (RuntimeError)             Neurosynth's words, where none may lack
    ├── CorruptFileError (OSError)            truncated, damaged, or not NIfTI
    └── StoreError (OSError)                  the local store cannot be used

    NeuroVaultWarning (UserWarning)

Each class is also the built-in that a caller would expect, so
``except FileNotFoundError`` works without knowing this package. A message says
what happened, where, and which argument to change.
"""

from __future__ import annotations

from dataclasses import dataclass


class NeuroVaultError(Exception):
    """Base of every error that this package raises on purpose."""

    attempts: int = 0
    """How many requests were spent before giving up."""
    failures: tuple[Failure, ...] = ()
    """What else had failed, where this error ended a run of many."""


class ArgumentError(NeuroVaultError, ValueError):
    """An argument whose value cannot be understood."""


class FilterError(ArgumentError):
    """A filter on metadata that cannot be understood."""


class GridError(ArgumentError):
    """A grid that cannot be understood."""


class LockError(ArgumentError):
    """A lock of frozen images that is absent, altered, or of another format."""


class UnknownArgumentError(NeuroVaultError, TypeError):
    """An argument that does not exist, most often a misspelt one."""


class EmptyResultError(NeuroVaultError, LookupError):
    """A query that matched no image, where at least one is needed."""


class GeometryError(NeuroVaultError, ValueError):
    """Maps that cannot stand in one array: different grids, or not 3-D."""


class ExtraError(NeuroVaultError, ImportError):
    """An optional package that is not installed."""


class UnsuitableError(NeuroVaultError, ValueError):
    """Maps that a meta-analysis cannot take: their kind, level, or sample size."""


class MissingError(NeuroVaultError, FileNotFoundError):
    """NeuroVault has no such collection, image or file."""


class PrivateError(NeuroVaultError, PermissionError):
    """NeuroVault has it, but shows it only to those who know its token."""


class ServerError(NeuroVaultError, OSError):
    """The server failed to answer, after all retries."""


class UnreachableError(ServerError, ConnectionError):
    """No connection to the server, or no answer in time."""


class AnswerError(ServerError, ValueError):
    """The server answered something that is not NeuroVault's."""


class OfflineError(NeuroVaultError, FileNotFoundError):
    """Something is not in the local store, and ``mode="offline"`` forbids to ask."""


class ChangedError(NeuroVaultError, FileNotFoundError):
    """Frozen images whose bytes are neither in the store nor on the server any more."""


class WordsError(NeuroVaultError, RuntimeError):
    """Neurosynth's words cannot be had, and ``allow_neurosynth_failure=False``."""


class CorruptFileError(NeuroVaultError, OSError):
    """A file that is truncated, damaged or not NIfTI."""


class StoreError(NeuroVaultError, OSError):
    """The local store cannot be read or written."""


class NeuroVaultWarning(UserWarning):
    """Something a user should know, though the work goes on."""


@dataclass(frozen=True)
class Failure:
    """One thing that could not be had, and why: a row of ``.failures``.

    Examples
    --------
    >>> Failure(3, 1, "https://neurovault.org/api/images/3/", "No such image.", 1).id
    3
    """

    id: int | None
    """The image, or None when a whole collection or page failed."""
    collection_id: int | None
    """The collection, where it is known."""
    url: str
    """What was asked, never with a private collection's token."""
    reason: str
    """One sentence."""
    attempts: int
    """How many requests were spent on it."""
