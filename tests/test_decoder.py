"""Neurosynth's words: kept, checked, and never waited for too long."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from asking import asked, find, ids, listings_of

from intake_neurovault.decoder import PATIENCE, Decoder
from intake_neurovault.errors import (
    AnswerError,
    NeuroVaultWarning,
    OfflineError,
    ServerError,
)
from intake_neurovault.pool import Pool
from intake_neurovault.testing import Fault, NeuroVaultServer


def decoder_of(
    server: NeuroVaultServer, data_dir: Path, mode: str = "download_new"
) -> Decoder:
    """Neurosynth, which the server plays too."""
    pool = Pool(4, "skip", progress=False)
    url = f"{server.url}/api/decode/"
    return Decoder.parse(listings_of(server, data_dir, mode), pool, url)


def test_words_are_kept_and_used_offline(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(server, data_dir, collection_ids=[1952])
    image, about = found.images[0], found.collections[1952]
    offline = decoder_of(server, data_dir, "offline")
    with pytest.raises(OfflineError, match=r"words of image 32015 .* not in the"):
        offline.ask(image, about)
    server.clear_requests()
    online = decoder_of(server, data_dir).ask(image, about)
    assert asked(server) == ["/api/decode/"]
    assert len(online) > 5
    assert all(-1 <= weight <= 1 for weight in online.values())
    for mode in ("download_new", "update", "offline"):
        assert decoder_of(server, data_dir, mode).ask(image, about) == online
    assert asked(server) == []
    decoder_of(server, data_dir, "overwrite").ask(image, about)
    assert asked(server) == ["/api/decode/"]


@pytest.mark.parametrize("content", [b"{}", b"<html>", b'{"data": {"values": {}}}'])
def test_words_that_are_none_are_fetched_again(
    server: NeuroVaultServer, data_dir: Path, content: bytes
) -> None:
    found = find(server, data_dir, collection_ids=[1952])
    image, about = found.images[0], found.collections[1952]
    decoder = decoder_of(server, data_dir)
    online = decoder.ask(image, about)
    (path,) = data_dir.rglob("neurosynth_words_for_image_32015.json")
    path.write_bytes(content)
    with pytest.raises(OfflineError, match="words of image 32015"):
        decoder_of(server, data_dir, "offline").ask(image, about)
    assert path.read_bytes() == content
    assert decoder.ask(image, about) == online
    assert json.loads(path.read_bytes())["data"]["values"] == online


def test_an_answer_without_words_is_not_kept(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(fresh_server, data_dir, image_ids=[32015])
    decoder = decoder_of(fresh_server, data_dir)
    astray = replace(decoder, base=f"{fresh_server.url}/api/collections/")
    with pytest.raises(AnswerError, match="holds no words"):
        astray.ask(found.images[0], found.collections[1952])
    assert list(data_dir.rglob("neurosynth_words*")) == []


def test_words_that_cannot_be_kept_are_given_all_the_same(
    server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    found = find(server, data_dir, image_ids=[32015])
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    decoder = decoder_of(server, blocked)
    with pytest.warns(NeuroVaultWarning, match="pass data_dir="):
        words = decoder.ask(found.images[0], found.collections[1952])
    assert len(words) > 5


def test_neurosynth_is_not_waited_for_as_long_as_neurovault(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(fresh_server, data_dir, image_ids=[32015])
    fresh_server.faults.append(Fault(match="decode", kind="silent"))
    decoder = replace(decoder_of(fresh_server, data_dir), timeout=0.2)
    began = time.monotonic()
    with pytest.raises(ServerError, match=r"0\.2"):
        decoder.ask(found.images[0], found.collections[1952])
    assert time.monotonic() - began < decoder.listings.client.timeout / 2


def test_words_on_disk_are_given_where_neurosynth_is_away(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(fresh_server, data_dir, collection_ids=[658])
    pairs = [(image, found.collections[image.collection_id]) for image in found.images]
    assert len(pairs) > PATIENCE + 8
    decoder = decoder_of(fresh_server, data_dir)
    kept = decoder.ask(*pairs[-1])
    fresh_server.faults.append(Fault(match="decode", kind="html"))
    words = decoder.words(pairs)
    assert words.weights == (*(None,) * (len(pairs) - 1), kept)
    assert "asked no more" in words.failures[-1].reason
    assert [each.id for each in words.failures] == ids(found.images)[:-1]
