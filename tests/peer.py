"""nilearn's fetchers, made to ask a server on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from nilearn.datasets import neurovault

from intake_neurovault.testing import NeuroVaultServer


def point_nilearn(monkeypatch: pytest.MonkeyPatch, server: NeuroVaultServer) -> Any:
    """Give nilearn's module, which offers no other way to name a server."""
    api = f"{server.url}/api/"
    monkeypatch.setattr(neurovault, "_NEUROVAULT_BASE_URL", api)
    for name in ("COLLECTIONS", "IMAGES"):
        address = f"{api}{name.lower()}/"
        monkeypatch.setattr(neurovault, f"_NEUROVAULT_{name}_URL", address)
    monkeypatch.setattr(neurovault, "_NEUROSYNTH_FETCH_WORDS_URL", f"{api}decode/")
    return neurovault
