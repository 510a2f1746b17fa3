"""Pictures that the documentation shows, against those that its code draws today."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

EXAMPLES = Path(__file__).parents[1] / "examples"
MADE_BY = {"motor_mean.png": "test_demo.py", "search_result.png": "test_browser.py"}
"""The pictures that are committed, and the test that draws each anew."""


def difference(drawn: Path, name: str) -> float:
    """Mean difference of a picture drawn now from the committed one, 0 to 255.

    Another version of a font or a browser moves some edges by a pixel.
    """
    one, other = (
        np.asarray(Picture.open(path).convert("RGB"), float)
        for path in (drawn, EXAMPLES / name)
    )
    assert one.shape == other.shape
    return float(np.abs(one - other).mean())
