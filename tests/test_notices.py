"""Warnings point at the line of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from intake_neurovault import Query, fetch_neurovault, fetch_neurovault_ids
from intake_neurovault.errors import NeuroVaultWarning
from intake_neurovault.testing import NeuroVaultServer


def test_a_warning_shows_the_line_that_asked(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be listed") as said:
        fetch_neurovault_ids(image_ids=[5], url=server.url, data_dir=data_dir)
    with pytest.warns(NeuroVaultWarning, match="Contradictory collection ids") as more:
        Query.parse(image_terms={"collection_id": 1}, collection_terms={"id": 2})
    with pytest.warns(
        NeuroVaultWarning, match="no record has a field 'map_typ'"
    ) as odd:
        fetch_neurovault(
            map_typ="Z map", collection_id=658, url=server.url, data_dir=data_dir
        )
    assert {each.filename for each in (*said, *more, *odd)} == {__file__}
