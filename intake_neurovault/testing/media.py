"""Files as the server sends them: maps, thumbnails and whole collections as zip."""

from __future__ import annotations

import io
import mimetypes
import re
import zipfile
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import PurePosixPath
from urllib.parse import quote_plus

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.disk import StoredFile
from intake_neurovault.testing.messages import (
    Answer,
    Asked,
    RefusedError,
    html_error,
    html_page,
)
from intake_neurovault.testing.rendering import to_int

_MEDIA = re.compile(
    r"/media/images/(?P<ref>[^/]+)/"
    r"(?P<name>(?:[^/]+\.nidm/)?[\w^&'@{}\[\],$=!\-#().%+~ ]+)\Z",
    re.ASCII,
)
_ZIP = re.compile(r"/collections/(?P<ref>[^/]+)/download\Z")
_TOKEN = re.compile(r"[A-Z]{8}\Z")


def send_file(archive: Archive, asked: Asked, path: str) -> Answer:
    """Send one file, whole: the server knows no ranges and no entity tags.

    Parameters
    ----------
    archive : Archive
        Where the files are.
    asked : Asked
        The request.
    path : str
        Its path, unquoted.

    Returns
    -------
    Answer
        The file, a 304, or the page of an error.

    Notes
    -----
    The server's URL pattern knows neither letters beyond ASCII nor folders
    (those of NIDM packs apart), so such files are a 404 though the API links them.
    """
    found = _MEDIA.match(path)
    if found is None:
        return html_error(asked, 404)
    owner = _owner(archive, asked, found["ref"])
    if asked.method not in ("GET", "HEAD", "OPTIONS"):
        return html_error(asked, 403)
    stored = archive.files.get(f"/media/images/{owner}/{found['name']}")
    if stored is None or stored.content is None:
        return html_error(asked, 404)
    return _send(asked, stored, PurePosixPath(path).name)


def send_zip(archive: Archive, asked: Asked, path: str) -> Answer:
    """Send a collection as a zip archive, streamed without a length.

    Parameters
    ----------
    archive : Archive
        Where the files are.
    asked : Asked
        The request.
    path : str
        Its path, unquoted.

    Returns
    -------
    Answer
        The archive, or the page of an error.
    """
    found = _ZIP.match(path)
    if found is None:
        return html_error(asked, 404)
    owner = _owner(archive, asked, found["ref"])
    name = archive.collections[owner]["name"]
    packed = io.BytesIO()
    if asked.method != "HEAD":
        with zipfile.ZipFile(packed, "w") as bundle:
            for number in archive.image_ids(owner):
                member = PurePosixPath(archive.images[number]["file"]).name
                bundle.writestr(f"{name}/{member}", archive.file_bytes(number))
    headers = {
        **html_page(asked, "").headers,
        "Content-Type": "application/zip",
        "Content-Disposition": f"attachment; filename={quote_plus(name)}.zip",
    }
    return Answer(200, headers, packed.getvalue(), framing="chunked")


def _owner(archive: Archive, asked: Asked, reference: str) -> int:
    number = to_int(reference)
    if number is None and not _TOKEN.match(reference):
        raise RefusedError(html_error(asked, 500))
    if number in archive.tokens:
        raise RefusedError(html_error(asked, 403))
    owners = {token: owner for owner, token in archive.tokens.items()}
    found = owners.get(reference) if number is None else number
    if found is None or found not in archive.collections:
        raise RefusedError(html_error(asked, 404))
    return found


def _send(asked: Asked, stored: StoredFile, name: str) -> Answer:
    modified = stored.modified.astimezone(UTC).replace(microsecond=0)
    guessed, encoding = mimetypes.guess_type(name)
    kind = guessed if guessed and not encoding else "application/octet-stream"
    if name.endswith(".GZ"):
        kind = "application/gzip"
    headers = {
        **html_page(asked, "").headers,
        "Content-Type": kind,
        "Content-Encoding": "utf-8",
    }
    since = asked.headers.get("if-modified-since")
    if since is not None and parsedate_to_datetime(since) >= modified:
        return Answer(304, headers, stored.read())
    headers["Content-Disposition"] = f'inline; filename="{name}"'
    headers["Last-Modified"] = format_datetime(modified, usegmt=True)
    return Answer(200, headers, stored.read())
