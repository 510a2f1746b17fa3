"""Pages in a real browser: what runs in them, what they measure, how they look.

    python tests/browsing.py examples/search_result.png

draws the picture of a result that the README shows.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image as Picture

from intake_neurovault import search
from intake_neurovault.testing import NeuroVaultServer

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
"""The browser, where there is one."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Whatever a page asks for beyond this machine is not even looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=4000",
)
_SECONDS = 120
_SIZE = (860, 448)

JUPYTER_DARK = (
    "--jp-content-font-color0: #fff; --jp-content-font-color1: #fff; "
    "--jp-layout-color0: #111"
)
JUPYTER_LIGHT = (
    "--jp-content-font-color0: #000; --jp-content-font-color1: rgba(0, 0, 0, .87); "
    "--jp-layout-color0: #fff"
)
THEMES = {
    "none": ("", "light"),
    "Jupyter, light": (f'data-jp-theme-light="true" style="{JUPYTER_LIGHT}"', "light"),
    "Jupyter, dark": (f'data-jp-theme-light="false" style="{JUPYTER_DARK}"', "dark"),
    "VS Code, light": ('class="vscode-light"', "light"),
    "VS Code, dark": ('class="vscode-dark"', "dark"),
    "documentation, dark": ('data-theme="dark"', "dark"),
}
"""Attributes of a page's body, and what they make of it."""

MEASURE = """
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((v) => v / 255).map(
    (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const canvas = document.createElement("canvas").getContext("2d");
const over = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
  }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const grounds = (element) => {
  const all = [];
  for (let e = element; e; e = e.parentElement) {
    all.unshift(getComputedStyle(e).backgroundColor);
  }
  return ["#fff", ...all];
};
const contrast = (text, ground) => {
  const [a, b] = [luminance(over([...ground, text])), luminance(over(ground))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const look = (card) => {
  const edge = card.getBoundingClientRect();
  const seen = { outside: [], contrast: 99, texts: 0, ground: over(grounds(card)) };
  if (card.scrollWidth > card.clientWidth) seen.outside.push("the card");
  for (const e of card.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > edge.right + 1 || box.left < edge.left - 1)) {
      seen.outside.push(e.className || e.tagName);
    }
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e);
    const bar = style.getPropertyValue("--nv-bar");
    const counted = e.closest(".nv-counts li");
    seen.texts += 1;
    for (const ground of counted && bar ? [grounds(e), [bar]] : [grounds(e)]) {
      seen.contrast = Math.min(seen.contrast, contrast(style.color, ground));
    }
  }
  return seen;
};
addEventListener("load", () => setTimeout(() => {
  const inside = (what) => [...document.querySelectorAll(`.nv-result ${what}`)];
  const told = {
    hacked: String(window.hacked),
    title: document.title,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    scripts: inside(":is(script, iframe, object, embed, style, link, form)").length,
    handlers: inside("*").filter((e) =>
      e.getAttributeNames().some((n) => n.startsWith("on"))).length,
    addresses: inside(":is([src], [href])").map((e) => e.src || e.href),
    loaded: inside("img").filter((e) => e.complete && e.naturalWidth).length,
    cards: [...document.querySelectorAll(".nv-result")].map(look),
  };
  document.body.innerHTML = "";
  document.body.append("TOLD" + JSON.stringify(told) + "DLOT");
}, 500));
"""


def page_of(*parts: str, body: str = "", width: int = 900, script: str = "") -> str:
    """Make a page of what notebooks show."""
    boxes = "".join(f'<div style="width: {width}px">{part}</div>' for part in parts)
    head = f'<meta charset="utf-8"><title>untouched</title><script>{script}</script>'
    return f"<!doctype html><html><head>{head}</head><body {body}>{boxes}</body></html>"


def run(page: str, *flags: str) -> str:
    """Open a page in the browser, and give what that prints."""
    assert BROWSER is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder, "page.html")
        path.write_text(page, "utf-8")
        profile = f"--user-data-dir={folder}/profile"
        done = subprocess.run(
            [BROWSER, *_FLAGS, profile, *flags, path.as_uri()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    return done.stdout.decode()


def measured(*parts: str, flags: tuple[str, ...] = (), **how: Any) -> dict[str, Any]:
    """Show parts in the browser, and give what a script sees of them."""
    page = page_of(*parts, script=MEASURE, **how)
    dom = run(page, "--dump-dom", "--window-size=1300,5000", *flags)
    found = re.search("<body[^>]*>TOLD(.*)DLOT</body>", dom, re.DOTALL)
    assert found is not None, dom[-2000:]
    told: dict[str, Any] = json.loads(unescape(found[1]))
    return told


def example() -> str:
    """Show the result that is drawn for the README."""
    with NeuroVaultServer() as server, tempfile.TemporaryDirectory() as folder:
        found = search(
            url=server.url,
            data_dir=folder,
            collection_ids=[658, 3324, 1952],
            image_terms={"number_of_subjects": {"$gte": 16}},
        )
        assert len(found)
        shown = found._repr_html_()
        # The server is gone when the browser opens the page.
        for address in re.findall(r'src="([^"]+)"', shown):
            with urlopen(unescape(address)) as answer:  # noqa: S310 - our own server
                text = base64.b64encode(answer.read()).decode()
            shown = shown.replace(address, f"data:image/png;base64,{text}")
    return shown


def draw(path: Path) -> None:
    """Draw a result in a light and a dark notebook, as a small PNG."""
    shown, (width, height) = example(), _SIZE
    both = Picture.new("RGB", (width, 2 * height))
    with tempfile.TemporaryDirectory() as folder:
        for number, theme in enumerate(("Jupyter, light", "Jupyter, dark")):
            target = Path(folder, f"{number}.png")
            page = page_of(shown, body=THEMES[theme][0], width=width - 16)
            run(page, f"--screenshot={target}", f"--window-size={width},{height}")
            both.paste(Picture.open(target), (0, height * number))
    both.quantize(16, dither=Picture.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
