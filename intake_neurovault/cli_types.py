"""What may be typed on the command line, and how a shell completes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from intake_neurovault.errors import FilterError
from intake_neurovault.schema import Field, Kind
from intake_neurovault.typed_terms import OPERATORS, parse_condition

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_PAGE = re.compile(r"https?://[^\s?#]*/images/([1-9][0-9]{0,17})/?")

# Values that records have most often, for completion.
_VALUES: Mapping[str, tuple[str, ...]] = {
    "map_type": (
        *(
            "T map",
            "Z map",
            "F map",
            "Chi squared map",
            "P map (given null hypothesis)",
        ),
        *("multivariate-beta map", "univariate-beta map", "ROI/mask", "parcellation"),
        *("anatomical", "variance", "Other"),
    ),
    "image_type": ("statistic_map", "atlas", "NIDM results statistic map"),
    "analysis_level": ("group", "single-subject", "meta-analysis", "other"),
    "modality": (
        *("fMRI-BOLD", "fMRI-CBF", "fMRI-CBV", "Diffusion MRI", "Structural MRI"),
        *("PET FDG", "PET [15O]-water", "PET other", "MEG", "EEG", "Other"),
    ),
}


data_dir_option = click.option(
    "--data-dir",
    metavar="FOLDER",
    help="nilearn's data folder. Default: NILEARN_SHARED_DATA, NILEARN_DATA, or "
    "~/nilearn_data.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON, for machines."
)

GRIDS = ("mni152-3mm", "mni152-2mm", "mni152-1mm", "native")
"""The grids that have names."""


class GridName(click.ParamType):  # type: ignore[type-arg]  # only newer ones have it
    """A grid, by whatever may be written for it."""

    name = "grid"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete the grids that have names.

        Parameters
        ----------
        ctx, param : object
            As click gives them.
        incomplete : str
            What was typed.

        Returns
        -------
        list of CompletionItem
            What it may be.
        """
        return [CompletionItem(each) for each in GRIDS if each.startswith(incomplete)]


class Condition(click.ParamType):  # type: ignore[type-arg]  # only newer ones have it
    """A condition on metadata, as `typed_terms` has it."""

    name = "condition"

    def __init__(self, fields: tuple[Field, ...], kinds: Mapping[str, Kind]) -> None:
        self.fields = fields
        self.kinds = kinds

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Read it.

        Parameters
        ----------
        value : str
            What was typed.
        param, ctx : object
            As click gives them.

        Returns
        -------
        dict
            Terms.
        """
        where = param.opts[0] if param else "condition"
        try:
            return parse_condition(value, kinds=self.kinds, where=where)
        except FilterError as error:
            self.fail(str(error).removeprefix(f"{where} "), param, ctx)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete the field, then the sign, then the value.

        Parameters
        ----------
        ctx, param : object
            As click gives them.
        incomplete : str
            What was typed.

        Returns
        -------
        list of CompletionItem
            What may follow.
        """
        name, equal, value = incomplete.partition("=")
        field = name.rstrip("!").strip()
        truth = self.kinds.get(field) == "bool"
        values = ("true", "false") if truth else _VALUES.get(field, ())
        if equal:
            before, comma, last = value.rpartition(",")
            start = f"{name}={before}{comma}"
            return [
                CompletionItem(f"{start}{each}")
                for each in values
                if each.startswith(last)
            ]
        if incomplete in self.kinds:
            signs = [
                CompletionItem(f"{incomplete}{sign}", help=text)
                for sign, text in OPERATORS.items()
            ]
            return [CompletionItem(incomplete, help="there is a value"), *signs]
        absent = "!" if incomplete.startswith("!") else ""
        return [
            CompletionItem(f"{absent}{each.name}", help=each.description)
            for each in self.fields
            if each.name.startswith(incomplete.removeprefix("!"))
        ]


class Several(click.ParamType):  # type: ignore[type-arg]  # only newer ones have it
    """Several words, between commas."""

    name = "several"

    def __init__(self, known: tuple[Field, ...] = ()) -> None:
        self.known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Part them.

        Parameters
        ----------
        value : str
            What was typed.
        param, ctx : object
            As click gives them.

        Returns
        -------
        tuple of str
            The words.
        """
        if isinstance(value, tuple):
            return value
        words = tuple(word.strip() for word in value.split(","))
        if not all(words):
            self.fail(f"{value!r} lacks a word beside a comma.", param, ctx)
        return words

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Complete the last word.

        Parameters
        ----------
        ctx, param : object
            As click gives them.
        incomplete : str
            What was typed.

        Returns
        -------
        list of CompletionItem
            What it may be.
        """
        before, comma, last = incomplete.rpartition(",")
        return [
            CompletionItem(f"{before}{comma}{field.name}", help=field.description)
            for field in self.known
            if field.name.startswith(last)
        ]


class Cap(click.ParamType):  # type: ignore[type-arg]  # only newer ones have it
    """How many images: a number, or all."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Read it.

        Parameters
        ----------
        value : str
            What was typed.
        param, ctx : object
            As click gives them.

        Returns
        -------
        str
            What ``max_images`` takes.
        """
        if str(value).lower() == "all":
            return "none"
        return str(click.IntRange(min=0).convert(value, param, ctx))


class ImageId(click.ParamType):  # type: ignore[type-arg]  # only newer ones have it
    """The number of an image, or the address of its web page."""

    name = "id"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read it.

        Parameters
        ----------
        value : str
            What was typed.
        param, ctx : object
            As click gives them.

        Returns
        -------
        int
            The number of the image.
        """
        page = _PAGE.fullmatch(value.strip())
        number = page[1] if page else value.strip().removeprefix("image_")
        if not _NUMBER.fullmatch(number):
            self.fail(f"{value!r} is no image: give its number.", param, ctx)
        return int(number)
