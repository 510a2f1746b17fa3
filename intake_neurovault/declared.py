"""What intake's sources and catalogs share here: arguments that can be written down.

Opened by arguments, called for others, written as YAML, compared, copied: whatever a
face of intake shows, these follow from the arguments alone.
"""

from __future__ import annotations

import inspect
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, Self

from intake_neurovault.errors import UnknownArgumentError
from intake_neurovault.parameters import reject_unknown
from intake_neurovault.templates import templated


class Writable(Protocol):
    """What arguments describe, and what can tell them."""

    def to_arguments(self) -> dict[str, Any]:
        """Give the arguments as plain values."""
        ...

    def __dask_tokenize__(self) -> tuple[object, ...]: ...


class Declared:
    """An object of intake's that its arguments describe.

    It goes before intake's own class among the bases of a class.
    """

    name: str
    """What intake calls it."""
    description: str | None
    """What a catalog says about it."""
    name_of_driver: str
    """How YAML names its class."""
    takes: Mapping[str, object]
    """The arguments there are, with their defaults."""
    metadata: dict[str, Any]
    """What a catalog says, and what was learnt since."""
    _entry: Any
    _passed_kwargs: list[str]
    # NOTE: intake's classes show YAML in notebooks and would hide `_repr_html_`.
    _ipython_display_ = None
    __signature__: inspect.Signature

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__signature__ = inspect.Signature(
            [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, default in {**cls.takes, "metadata": None}.items()
            ]
        )

    def __init__(
        self, *, metadata: Mapping[str, Any] | None = None, **arguments: Any
    ) -> None:
        self._open(metadata, arguments)

    def _open(
        self, metadata: Mapping[str, Any] | None, arguments: Mapping[str, Any]
    ) -> None:
        where = f"the driver {self.name_of_driver!r}"
        reject_unknown(arguments, self.takes, where=where)
        self._arguments = {name: _settled(value) for name, value in arguments.items()}
        # NOTE: discover() adds to `self.metadata`; what was given must stay as it was,
        # because YAML and copies are made from it.
        self._begin(dict(metadata or {}), self._arguments)
        self._captured_init_kwargs = {"metadata": _settled(metadata), **self._arguments}
        self._given: dict[str, Any] = {}

    @abstractmethod
    def _begin(self, metadata: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Make of it what intake expects; nothing is requested."""

    @property
    @abstractmethod
    def _subject(self) -> Writable:
        """What the arguments describe."""

    def configure_new(self, **changes: Any) -> Self:
        """Make another one that differs in some arguments.

        Calling it, and ``get``, do the same. What earlier calls changed stays changed.

        Parameters
        ----------
        **changes
            Its arguments, or parameters that its entry in a catalog declares.

        Returns
        -------
        same type
            The new one; nothing is requested.

        Raises
        ------
        UnknownArgumentError
            If an argument is misspelt.
        ArgumentError
            If a value is not what its argument takes.
        """
        new: Self
        if self._entry is None:
            new = type(self)(**{**self._captured_init_kwargs, **changes})
            new.name, new.description = self.name, self.description
            return new
        kept = {
            name: self._arguments[name]
            for name in self._passed_kwargs
            if name in self._arguments
        }
        given = {**kept, **self._given, **changes}
        try:
            new = self._entry(**given)
        except UnknownArgumentError:
            # NOTE: the driver does not know which parameters the entry has.
            known = [*_parameters(self._entry, given), *self.takes]
            reject_unknown(given, known, where=f"the entry {self.name!r}")
            raise
        if hidden := _hidden(self._entry, given, self.takes):
            new._open(new._captured_init_kwargs["metadata"], new._arguments | hidden)
        new._given = given
        return new

    __call__ = get = configure_new

    def _yaml(self) -> dict[str, Any]:
        metadata = dict(self._captured_init_kwargs["metadata"] or {})
        # NOTE: intake adds the folder of the catalog, which is this machine's affair.
        metadata.pop("catalog_dir", None)
        entry = {
            "driver": self.name_of_driver,
            "description": self.description or "",
            "metadata": metadata,
            "args": templated(self._subject.to_arguments()),
        }
        return {"sources": {self.name: entry}}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._subject == other._subject

    def __hash__(self) -> int:
        return hash(self._subject)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return (type(self).__name__, *self._subject.__dask_tokenize__())

    def __getstate__(self) -> dict[str, Any]:
        return {
            "kwargs": dict(self._captured_init_kwargs),
            "name": self.name,
            "description": self.description,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments = dict(state["kwargs"])
        self._open(arguments.pop("metadata"), arguments)
        self.name = state["name"]
        self.description = state["description"]


# Copies are made from the arguments; meanwhile the caller may change a mapping or a
# list, and an iterator would be empty.
def _settled(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _settled(each) for name, each in value.items()}
    if isinstance(value, list | Iterator):
        return [_settled(each) for each in value]
    return value


# Names the parameters of an entry: those that it declares, and those of what is given
# that its templates take without.
def _parameters(entry: Any, given: Iterable[str]) -> list[str]:
    written = str(entry.describe()["args"])
    declared = [parameter.name for parameter in entry._user_parameters]
    undeclared = [
        name for name in given if re.search(rf"{{{{\s*{re.escape(name)}\b", written)
    ]
    return [*declared, *undeclared]


# Gives the arguments of a call that intake drops: those that the entry declares as
# parameters, but whose value it does not make from them.
def _hidden(
    entry: Any, given: Mapping[str, Any], known: Mapping[str, object]
) -> dict[str, Any]:
    written = entry.describe()["args"]
    return {
        parameter.name: parameter.validate(given[parameter.name])
        for parameter in entry._user_parameters
        if parameter.name in given
        and parameter.name in known
        and "{{" not in str(written.get(parameter.name))
    }
