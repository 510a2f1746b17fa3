"""A result as HTML, for notebooks: what was wanted, what was found, what was not.

Everything in it that somebody wrote into an archive, or into a query, is shown as
text. Nothing in it runs, and only pictures of the server, or of hosts that the user
trusts, are loaded: by the browser, when somebody scrolls there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files

from intake_neurovault.address import locate
from intake_neurovault.errors import AnswerError, Failure
from intake_neurovault.found import Found
from intake_neurovault.records import Collection, Image
from intake_neurovault.resource import host_of, without_token

_ROWS = 6  # values of a field, and images, that are shown
_FAILURES = 5
_LONGEST = 300  # characters of any text
# NOTE: notebooks take dollars for formulas, and formulas may hold links that run.
_PLAIN = "tex2jax_ignore mathjax_ignore"


@dataclass(frozen=True)
class Portrait:
    """What is shown of a result.

    Examples
    --------
    >>> page = Portrait("not searched yet", 'images; where name is "<b>"').html()
    >>> "name is &quot;&lt;b&gt;&quot;" in page
    True
    """

    heading: str
    """How much was found, in a few words."""
    wanted: str
    """The query, in words."""
    found: Found | None = None
    """What it found; None if it was not searched yet."""
    failures: Sequence[Failure] = ()
    """What could not be had."""
    url: str = ""
    """The server."""
    trusted_hosts: tuple[str, ...] = ()
    """Hosts besides the server's own whose pictures may be shown."""
    pictures: bool = True
    """Whether pictures may be loaded at all."""

    def html(self) -> str:
        """Write it down.

        Returns
        -------
        str
            One element, with its style.
        """
        parts = [
            f'<p class="nv-head"><b>NeuroVault</b>: {_shown(self.heading)}</p>',
            f'<p class="nv-quiet">{_shown(self.wanted)}</p>',
        ]
        if self.found is None:
            parts.append(_UNSEARCHED)
        elif self.found.images:
            parts += self._what_was_found(self.found)
        else:
            parts.append(f'<p class="nv-alarm">{_shown(self.found.why_empty())}</p>')
        parts += self._what_failed()
        return f'{_style()}<div class="nv-result {_PLAIN}">{"".join(parts)}</div>'

    def _what_was_found(self, found: Found) -> list[str]:
        images, homes = found.images, found.collections
        fields = ("map_type", "modality", "analysis_level")
        values = {
            name.replace("_", " "): [image.metadata.get(name) for image in images]
            for name in fields
        }
        titles = {number: _title(home) for number, home in homes.items()}
        values["collection"] = [titles[image.collection_id] for image in images]
        counts = "".join(_counted(label, some) for label, some in values.items())
        tiles = "".join(
            self._tile(each, homes[each.collection_id]) for each in images[:_ROWS]
        )
        return [
            _STOPPED if found.truncated else "",
            f'<div class="nv-counts">{counts}</div>',
            f'<ul class="nv-images">{tiles}</ul>',
        ]

    def _tile(self, image: Image, home: Collection) -> str:
        given = image.metadata.get
        number = given("number_of_subjects")
        facts = [given("map_type") or image.image_type, given("modality")]
        subjects = "1 subject" if number == 1 else f"{number} subjects"
        facts += [given("analysis_level"), number and subjects]
        summary = " · ".join(str(fact) for fact in facts if fact)
        address = self._picture(image, home)
        picture = _PICTURE.format(address) if address else "no picture"
        name = _shown(given("name") or "(no name)")
        return (
            f'<li><span class="nv-thumb">{picture}</span><div class="nv-about">'
            f'<div class="nv-name">{self._link(image, home)} {name}</div>'
            f'<div class="nv-name">{_shown(summary)}</div>'
            f'<div class="nv-name nv-quiet">{_shown(_title(home))}</div></div></li>'
        )

    def _link(self, image: Image, home: Collection) -> str:
        # NOTE: a private image is not to be had by its number.
        if home.token is not None or not self.url:
            return f"<b>{image.id}</b>"
        page = escape(f"{self.url}/images/{image.id}/")
        return (
            f'<a href="{page}" target="_blank" rel="noopener noreferrer">{image.id}</a>'
        )

    def _picture(self, image: Image, home: Collection) -> str | None:
        """Give the address of an image's thumbnail, if it may be loaded."""
        url = image.metadata.get("thumbnail")
        if home.token is not None or not (self.pictures and self.url):
            return None
        if not isinstance(url, str) or not url.startswith(("http://", "https://", "/")):
            return None
        page = image.raw.get("collection") or image.raw.get("url")
        try:
            path, host = locate(url, server=self.url, page=page)
            if host is not None and host_of(host) not in self.trusted_hosts:
                return None
        except (AnswerError, ValueError):
            return None
        address = f"{host or self.url}{path}"
        return escape(address) if without_token(address) == address else None

    def _what_failed(self) -> list[str]:
        if not self.failures:
            return []
        rows = [
            f"<li>{_shown(_about(each))}: {_shown(each.reason)}</li>"
            for each in self.failures[:_FAILURES]
        ]
        if rest := len(self.failures) - len(rows):
            rows.append(f"<li>and {rest:,} more, in <code>.failures</code></li>")
        label = f"{len(self.failures):,} could not be had"
        return [f'<p class="nv-label nv-alarm">{label}</p><ul>{"".join(rows)}</ul>']


_UNSEARCHED = (
    "<p>Nothing has been asked of the server yet; <code>.df</code>, <code>len()</code> "
    "or <code>.keys()</code> searches, <code>.to_dask()</code> builds the cube.</p>"
)
_STOPPED = (
    '<p class="nv-quiet">Stopped at <code>max_images</code>; <code>.matched()</code> '
    "counts all that match.</p>"
)
_PICTURE = (
    '<img alt="" loading="lazy" decoding="async" referrerpolicy="no-referrer" src="{}">'
)


def _counted(label: str, values: Iterable[object]) -> str:
    counts = Counter(values)
    rows = [
        f'<li style="--nv-part: {100 * number / counts.total():.0f}%">'
        f"<span>{_shown(value or '(not given)')}</span><span>{number:,}</span></li>"
        for value, number in counts.most_common(_ROWS)
    ]
    if rest := len(counts) - len(rows):
        others = counts.total() - sum(number for _, number in counts.most_common(_ROWS))
        rows.append(f"<li><span>{rest:,} others</span><span>{others:,}</span></li>")
    return f'<div><p class="nv-label">{label}</p><ul>{"".join(rows)}</ul></div>'


def _title(collection: Collection) -> str:
    return f"{collection.name or '(no name)'} ({collection.id})"


def _about(failure: Failure) -> str:
    if failure.id is not None:
        return f"image {failure.id}"
    if failure.collection_id is not None:
        return f"collection {failure.collection_id}"
    return "the search"


def _shown(value: object) -> str:
    """Show any text as text: short, harmless, and apart from what is around it."""
    # NOTE: JSON may hold half a character, which no page can.
    text = str(value).encode(errors="replace").decode()
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return f"<bdi>{escape(text)}</bdi>"


@cache
def _style() -> str:
    text = files("intake_neurovault").joinpath("portrait.css").read_text("utf-8")
    return f"<style>{text}</style>"
