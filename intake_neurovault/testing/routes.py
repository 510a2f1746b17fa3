"""From a request to NeuroVault's answer: which path gives what, and to whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from intake_neurovault.testing.archive import Archive, Record
from intake_neurovault.testing.media import send_file, send_zip
from intake_neurovault.testing.messages import (
    SAFE_METHODS,
    Answer,
    Asked,
    RefusedError,
    detail,
    html_error,
    html_page,
    json_answer,
    not_found,
    redirect,
)
from intake_neurovault.testing.rendering import (
    View,
    page,
    parameters,
    to_int,
    window,
)
from intake_neurovault.testing.schema import ATLAS
from intake_neurovault.testing.words import decode

DETAIL = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
WRITABLE_LIST = "GET, POST, HEAD, OPTIONS"
READ_ONLY = "GET, HEAD, OPTIONS"
KINDS = ("images", "atlases", "collections", "my_collections", "nidm_results")

_API = re.compile(
    r"/api(?:/(?P<kind>collections|images|atlases|nidm_results|my_collections|user)"
    r"(?:/(?P<id>[^/]+)(?:/(?P<sub>images|atlases|nidm_results))?)?)?(?P<slash>/?)\Z"
)
_TOKEN = re.compile(r"[A-Z]{8}\Z")
_PRIVATE_IMAGE = re.compile(r"([A-Z]{8})-([0-9]+)\Z")
_BROWSABLE = (
    '\n\n\n\n<!DOCTYPE html>\n<html>\n  <head>\n    <meta http-equiv="Content-Type" '
    'content="text/html; charset=utf-8"/>\n    <title>Django REST framework</title>\n'
    "  </head>\n  <body></body>\n</html>\n"
)


@dataclass(frozen=True)
class Api:
    """The server's application: answers requests from an archive."""

    archive: Archive
    """What the answers tell about."""
    honour_filters: bool = False
    """Whether ``name``, ``DOI`` and ``owner`` filter the list of collections."""

    def respond(self, asked: Asked) -> Answer:
        """Answer one request.

        Parameters
        ----------
        asked : Asked
            The request.

        Returns
        -------
        Answer
        """
        path = unquote(asked.path)
        with self.archive.lock:
            try:
                if path == "/api/decode/":
                    return decode(self.archive, asked)
                if path.startswith("/media/images/"):
                    return send_file(self.archive, asked, path)
                if path.startswith("/collections/"):
                    return send_zip(self.archive, asked, path)
                return self._api(asked, path)
            except RefusedError as refused:
                return refused.answer

    def _api(self, asked: Asked, path: str) -> Answer:
        found = _API.match(path)
        if found is None:
            return html_error(asked, 404)
        if not found["slash"]:
            query = f"?{asked.query}" if asked.query else ""
            return redirect(asked, f"{asked.path}/{query}")
        kind, identity, sub = found["kind"], found["id"], found["sub"]
        if sub is not None and kind != "collections":
            return html_error(asked, 404)
        allow = _allowed(kind, identity, sub)
        renderer = _negotiate(asked, allow)
        try:
            _authorise(asked, kind, allow)
            answer = self._records(asked, (kind, identity, sub), allow)
        except RefusedError as refused:
            answer = refused.answer
        if renderer == "html" and answer.payload is not None:
            return self._browsable(asked, answer, listing=identity is None)
        return answer

    def _records(
        self, asked: Asked, where: tuple[str | None, str | None, str | None], allow: str
    ) -> Answer:
        kind, identity, sub = where
        if asked.method == "OPTIONS":
            return json_answer(asked, _options(kind, identity, sub), allow)
        view = View(self.archive, asked.origin)
        if kind is None:
            roots = {name: f"{asked.origin}/api/{name}/" for name in KINDS}
            return json_answer(asked, roots, allow)
        if identity is None:
            return self._list(asked, view, kind, allow)
        if kind == "collections":
            return self._collection(asked, view, (identity, sub), allow)
        number = self._image_id(identity, kind)
        if number is None:
            raise not_found(asked, allow)
        record = _renderer(view, kind)(number)
        ids = frozenset((number,) if kind != "nidm_results" else ())
        return replace(json_answer(asked, record, allow), image_ids=ids)

    def _list(self, asked: Asked, view: View, kind: str, allow: str) -> Answer:
        public = set(self.archive.public_collections())
        if kind == "collections":
            listed = self._filtered(asked, allow)
            payload = page(asked, listed, view.collection)
            return json_answer(asked, payload, allow)
        if kind == "nidm_results":
            packs = self.archive.packs
            chosen = [n for n in packs if packs[n]["collection"] in public]
            return json_answer(asked, page(asked, chosen, view.pack), allow)
        images = self.archive.images
        chosen = [n for n in sorted(images) if images[n]["collection_id"] in public]
        if kind == "atlases":
            chosen = [n for n in chosen if images[n]["image_type"] == ATLAS]
        else:
            chosen = _planned(chosen, asked.query)
        return _image_page(asked, chosen, _renderer(view, kind), allow)

    def _filtered(self, asked: Asked, allow: str) -> list[int]:
        listed = self.archive.public_collections()
        if not self.honour_filters:
            return listed
        given = parameters(asked.query)
        collections = self.archive.collections
        owner = given.get("owner", "").strip()
        if owner and owner not in {str(c["owner"]) for c in collections.values()}:
            sentence = (
                "Select a valid choice. That choice is not one of the available "
                "choices."
            )
            raise RefusedError(json_answer(asked, {"owner": [sentence]}, allow, 400))
        for key in ("name", "DOI", "owner"):
            wanted = given.get(key, "").strip()
            if wanted:
                listed = [n for n in listed if str(collections[n][key]) == wanted]
        return listed

    def _collection(
        self, asked: Asked, view: View, where: tuple[str, str | None], allow: str
    ) -> Answer:
        reference, sub = where
        number = self._collection_id(asked, reference, allow)
        if sub is None:
            return json_answer(asked, view.collection(number), allow)
        if sub == "nidm_results":
            packs = self.archive.packs
            chosen = [n for n in sorted(packs) if packs[n]["collection"] == number]
            return json_answer(asked, page(asked, chosen, view.pack), allow)
        chosen = self.archive.image_ids(number)
        if sub == "atlases":
            images = self.archive.images
            chosen = [n for n in chosen if images[n]["image_type"] == ATLAS]
        return _image_page(asked, chosen, _renderer(view, sub), allow)

    def _collection_id(self, asked: Asked, reference: str, allow: str) -> int:
        owners = {token: number for number, token in self.archive.tokens.items()}
        number = to_int(reference)
        if number is None and not _TOKEN.match(reference):
            raise RefusedError(html_error(asked, 500))
        if number in self.archive.tokens:
            sentence = "You do not have permission to perform this action."
            raise detail(asked, sentence, allow, 403)
        found = owners.get(reference) if number is None else number
        if found is None or found not in self.archive.collections:
            raise not_found(asked, allow)
        return found

    def _image_id(self, reference: str, kind: str) -> int | None:
        secret = _PRIVATE_IMAGE.match(reference)
        number = to_int(secret[2] if secret else reference)
        table = self.archive.packs if kind == "nidm_results" else self.archive.images
        if number is None or number not in table:
            return None
        record = table[number]
        if kind == "atlases" and record["image_type"] != ATLAS:
            return None
        key = "collection" if kind == "nidm_results" else "collection_id"
        token = self.archive.tokens.get(record[key])
        return number if token == (secret[1] if secret else None) else None

    def _browsable(self, asked: Asked, answer: Answer, *, listing: bool) -> Answer:
        if self.honour_filters and listing:
            return html_error(asked, 500)
        shown = html_page(asked, _BROWSABLE, answer.status)
        headers = {
            **answer.headers,
            "Content-Type": shown.headers["Content-Type"],
            "Vary": "Accept, Cookie, Accept-Language, origin",
            "Set-Cookie": "csrftoken=sample; Path=/; SameSite=Lax",
        }
        return replace(shown, headers=headers)


def _image_page(
    asked: Asked, ids: Sequence[int], render: Callable[[int], Record], allow: str
) -> Answer:
    limit, offset = window(asked.query)
    shown = frozenset(ids[offset : offset + limit])
    payload = page(asked, ids, render)
    return replace(json_answer(asked, payload, allow), image_ids=shown)


def _renderer(view: View, kind: str) -> Callable[[int], Record]:
    renderers = {"images": view.image, "atlases": view.atlas, "nidm_results": view.pack}
    return renderers[kind]


def _planned(ids: list[int], query: str) -> list[int]:
    # The database joins in another order for large pages and those near the end of
    # the table: four rows move there from the front, and others are never returned.
    limit, offset = window(query)
    small = limit < 500 and offset + limit < len(ids)
    return ids if small else [*ids[4:], *ids[:4]]


def _allowed(kind: str | None, identity: str | None, sub: str | None) -> str:
    if kind is None or kind == "user":
        return READ_ONLY
    if identity is not None and sub is None:
        return DETAIL
    return WRITABLE_LIST if "collections" in kind else READ_ONLY


def _negotiate(asked: Asked, allow: str) -> str:
    wanted = parameters(asked.query).get("format")
    if wanted is not None:
        if wanted not in ("json", "api"):
            raise not_found(asked, allow)
        return "json" if wanted == "json" else "html"
    accepted = asked.headers.get("accept") or "*/*"
    types = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
    for name, renderer in (
        ("application/json", "json"),
        ("text/html", "html"),
        ("application/*", "json"),
        ("text/*", "html"),
        ("*/*", "json"),
    ):
        if name in types:
            return renderer
    sentence = "Could not satisfy the request Accept header."
    raise detail(asked, sentence, allow, 406)


def _authorise(asked: Asked, kind: str | None, allow: str) -> None:
    if asked.headers.get("authorization", "").startswith("Token "):
        raise detail(asked, "Invalid token.", allow, 401)
    if kind in ("user", "my_collections") or asked.method not in SAFE_METHODS:
        sentence = "Authentication credentials were not provided."
        raise detail(asked, sentence, allow, 401)


def _options(kind: str | None, identity: str | None, sub: str | None) -> dict[str, Any]:
    nouns = {"collections": "Collection", "images": "Image", "atlases": "Atlas"}
    noun = nouns.get(kind or "", "Api Root")
    if kind == "nidm_results":
        noun = "NIDM Results"
    role = "Instance" if identity is not None and sub is None else "List"
    return {
        "name": noun if kind is None else f"{noun} {role}",
        "description": "",
        "renders": ["application/json", "text/html"],
        "parses": [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ],
    }
