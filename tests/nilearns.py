"""Ways to let nilearn itself talk to a server on this machine."""

from __future__ import annotations

import pytest
from nilearn.datasets import neurovault

ADDRESSES = {
    "_NEUROVAULT_BASE_URL": "/api/",
    "_NEUROVAULT_COLLECTIONS_URL": "/api/collections/",
    "_NEUROVAULT_IMAGES_URL": "/api/images/",
    "_NEUROSYNTH_FETCH_WORDS_URL": "/api/decode/",
}
"""nilearn's addresses, and where the server of the tests answers for them."""


def point_nilearn_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Make a server nilearn's NeuroVault and Neurosynth."""
    # NOTE: nilearn offers no other way to name a server.
    for name, path in ADDRESSES.items():
        patch.setattr(neurovault, name, url + path)


def point_us_at(url: str, patch: pytest.MonkeyPatch) -> None:
    """Make the same server ours, the way a user does."""
    patch.setenv("INTAKE_NEUROVAULT_URL", url)
    patch.setenv("INTAKE_NEUROVAULT_WORDS_URL", f"{url}/api/decode/")
