"""The page of a map in a real browser: it is seen, and asks for nothing."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from browsing import BROWSER, JUPYTER_DARK, page_of, run
from maps import COARSE, FolderOpener, record, values, write
from PIL import Image as Picture

from intake_neurovault.cube import Recipe, build
from intake_neurovault.nifti import Reader

pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium here")

HOSTILE = "</title></p><script>parent.hacked = 1</script><img src=x onerror=hacked=1>"
TELL = """
addEventListener("load", () => setTimeout(() => {
  const page = document.querySelector("iframe").contentWindow;
  const canvas = page.document.querySelector("canvas");
  const pixels = canvas.getContext("2d").getImageData(
    0, 0, canvas.width, canvas.height).data;
  const told = {
    hacked: String(window.hacked) + String(page.hacked),
    title: page.document.querySelector("p").textContent,
    colours: new Set(Array.from({length: pixels.length / 4}, (_, n) =>
      pixels.slice(4 * n, 4 * n + 3).join())).size,
    width: canvas.width,
    tall: page.document.documentElement.scrollHeight - page.innerHeight,
    loaded: [...performance.getEntriesByType("resource"),
             ...page.performance.getEntriesByType("resource")].map((e) => e.name),
  };
  document.body.innerHTML = "";
  document.body.append("TOLD" + JSON.stringify(told) + "DLOT");
}, 500));
"""


def test_a_page_is_seen_and_asks_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, 1, values(1))
    images = [record(1, name=f"faces, 脳 {HOSTILE}")]
    dataset = build(images, Recipe(Reader(COARSE), FolderOpener(tmp_path)))
    page = dataset.nii.view_img(output_file=tmp_path / "map.html")
    saved, shown = (tmp_path / "map.html").read_text("utf-8"), page._repr_html_()
    # nilearn writes what a notebook shows from 0.14 on, and the page alone before.
    assert saved in (shown, page.html)
    dom = run(page_of(shown, script=TELL), "--dump-dom", "--window-size=900,700")
    found = re.search("<body[^>]*>TOLD(.*)DLOT</body>", dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    told = json.loads(unescape(found[1]))
    assert told["hacked"] == "undefined" * 2
    assert told["title"] == f"1: faces, 脳 {HOSTILE}"
    assert told["colours"] > 100
    assert told["width"] >= 500
    assert told["tall"] <= 0
    assert [name for name in told["loaded"] if not name.startswith("data:")] == []
    # In a dark notebook its letters stand on a light ground.
    target = tmp_path / "dark.png"
    dark = page_of(shown, body=f'style="background: #111; {JUPYTER_DARK}"')
    run(dark, f"--screenshot={target}", "--window-size=900,400")
    with Picture.open(target) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert pixels[:, 800:].max() < 40
    assert 0.1 < (pixels[:, :600] > 200).mean() < 0.9
