"""xarray's engine ``nifti``: ``xr.open_dataset("map.nii.gz", engine="nifti")``.

xarray loads this module with all other engines, whichever of them is asked for, so
that it imports nothing else before a file is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import xarray as xr
from xarray.backends import BackendEntrypoint

import intake_neurovault

__all__ = ["NiftiBackendEntrypoint"]

_SUFFIXES = (".nii", ".nii.gz")


class NiftiBackendEntrypoint(BackendEntrypoint):
    """Opens NIfTI files for xarray.

    Examples
    --------
    >>> NiftiBackendEntrypoint().guess_can_open("sub-01_bold.nii.gz")
    True
    """

    description = "NIfTI files of brain maps and time series (.nii, .nii.gz)"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        mask_and_scale: bool | None = True,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open a file.

        Parameters
        ----------
        filename_or_obj : path, str or binary file object
            A ``.nii`` or ``.nii.gz`` file: a local path, an address that fsspec
            knows, or a file opened in binary mode.
        drop_variables : str or iterable of str, optional
            What to leave out.
        mask_and_scale : bool, default=True
            Whether to apply the scaling of the header.
        storage_options : mapping, optional
            What fsspec is given besides the address.

        Returns
        -------
        xarray.Dataset
            As :func:`intake_neurovault.open_nifti` describes it.

        Raises
        ------
        NeuroVaultError
            As :func:`intake_neurovault.open_nifti` does.
        """
        return intake_neurovault.open_nifti(
            filename_or_obj,
            drop_variables=drop_variables,
            mask_and_scale=mask_and_scale,
            storage_options=storage_options,
        )

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Tell from a name whether it is that of a NIfTI file.

        Parameters
        ----------
        filename_or_obj : object
            What is to be opened without a word on the engine.

        Returns
        -------
        bool
            Whether it is a path or an address that ends in ``.nii`` or ``.nii.gz``.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        links = os.fsdecode(filename_or_obj).split("::")
        name = next((link for link in links if "://" in link), links[-1])
        return name.partition("?")[0].lower().endswith(_SUFFIXES)
