"""What an intake source hands on to its result: pictures, checks, other tools."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from nilearn.plotting.displays import BaseSlicer
    from nilearn.plotting.html_stat_map import StatMapView
    from nilearn.surface import PolyMesh, SurfaceImage
    from nimare.nimads import Studyset

    from intake_neurovault.bunch import Bunch
    from intake_neurovault.hemispheres import Hemisphere
    from intake_neurovault.map_grid import MapGrid
    from intake_neurovault.result import SearchResult


class Forwarding:
    """Hands on to a result what a user does with the maps of a source.

    Examples
    --------
    >>> from intake_neurovault import search
    >>> class Source(Forwarding):
    ...     result = search(image_ids=[])
    >>> Source().fetch_surfaces()
    {}
    """

    result: SearchResult
    """What it stands for."""

    def plot_stat_map(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw one map on three slices of the template.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_stat_map`.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display.
        """
        return self.result.plot_stat_map(image, **arguments)

    def plot_glass_brain(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw one map as seen through a brain of glass.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain`.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display.
        """
        return self.result.plot_glass_brain(image, **arguments)

    def plot_roi(self, image: object = None, **arguments: Any) -> BaseSlicer:
        """Draw the regions of a mask, a parcellation or an atlas on slices.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.plot_roi`.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display.
        """
        return self.result.plot_roi(image, **arguments)

    def view_img(self, image: object = None, **arguments: Any) -> StatMapView:
        """Make a page on which one walks through a map.

        Parameters
        ----------
        image : int, optional
            Its id; not needed where there is one map only.
        **arguments
            Those of :func:`nilearn.plotting.view_img`, and ``output_file``.

        Returns
        -------
        nilearn.plotting.html_stat_map.StatMapView
            nilearn's page.
        """
        return self.result.view_img(image, **arguments)

    def plot_grid(self, **arguments: Any) -> MapGrid:
        """Draw many maps in one picture, each with its number and name.

        Parameters
        ----------
        **arguments
            Those of ``.nii.plot_grid()``, such as ``max_maps``.

        Returns
        -------
        MapGrid
            The picture.
        """
        return self.result.plot_grid(**arguments)

    def quality(self, mask: Any = None) -> pd.DataFrame:
        """Measure the file of each image, and say what is suspicious about it.

        Parameters
        ----------
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            The voxels that should have values; the MNI152 brain mask by default.

        Returns
        -------
        pandas.DataFrame
            As `SearchResult.quality` gives it.
        """
        return self.result.quality(mask)

    def duplicates(self, threshold: float = 0.99, mask: Any = None) -> pd.DataFrame:
        """Find pairs of maps that are nearly the same, or the same with other signs.

        Parameters
        ----------
        threshold : float
            The least correlation, whatever its sign.
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            Which voxels are compared; the MNI152 brain mask by default.

        Returns
        -------
        pandas.DataFrame
            As `SearchResult.duplicates` gives it.
        """
        return self.result.duplicates(threshold, mask)

    def fetch_surfaces(self) -> dict[int, dict[Hemisphere, Path]]:
        """Download the surface files of the images: verified, each once.

        Returns
        -------
        dict of int to dict of str to pathlib.Path
            By image and by ``"left"`` and ``"right"``, the local GIFTI file.
        """
        return self.result.fetch_surfaces()

    def to_surface_images(
        self, mesh: str | PolyMesh | Mapping[str, Any] = "fsaverage5"
    ) -> dict[int, SurfaceImage]:
        """Read the surface maps as nilearn has them.

        Parameters
        ----------
        mesh : str, nilearn.surface.PolyMesh or mapping, optional
            On which cortex, as for `SearchResult.to_surface_images`.

        Returns
        -------
        dict of int to nilearn.surface.SurfaceImage
            By image.
        """
        return self.result.to_surface_images(mesh)

    def to_surface_dataset(self, mesh: str = "fsaverage5") -> xr.Dataset:
        """Read the surface maps as one labelled array.

        Parameters
        ----------
        mesh : str, optional
            A name from ``"fsaverage3"`` to ``"fsaverage7"``.

        Returns
        -------
        xarray.Dataset
            ``maps(image, hemisphere, vertex)`` with the metadata as coordinates.
        """
        return self.result.to_surface_dataset(mesh)

    def to_nimare(
        self, folder: str | PathLike[str] | None = None, **arguments: Any
    ) -> Studyset:
        """Hand the maps over to NiMARE for an image-based meta-analysis.

        Parameters
        ----------
        folder : path, optional
            Where the maps are written; a temporary folder by default.
        **arguments
            Those of `SearchResult.to_nimare`, such as ``study``.

        Returns
        -------
        nimare.nimads.Studyset
            As `SearchResult.to_nimare` gives it.
        """
        return self.result.to_nimare(folder, **arguments)

    def to_bunch(
        self,
        *,
        resample: bool = False,
        vectorize_words: bool = True,
        allow_neurosynth_failure: bool = True,
    ) -> Bunch:
        """Download what is missing, and describe it as nilearn's fetchers do.

        Parameters
        ----------
        resample : bool
            Whether to give files on nilearn's grid of 3 mm.
        vectorize_words : bool
            Whether to put words into one matrix, where they were asked for.
        allow_neurosynth_failure : bool
            Whether images whose words cannot be had are given without.

        Returns
        -------
        sklearn.utils.Bunch
            As `SearchResult.to_bunch` gives it.
        """
        return self.result.to_bunch(
            resample=resample,
            vectorize_words=vectorize_words,
            allow_neurosynth_failure=allow_neurosynth_failure,
        )
