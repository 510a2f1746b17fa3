"""Private collections: what their token opens, and that nobody ever sees it.

A token is all it takes to read what somebody has not published. It must not stand in
anything that is shown, logged, raised, written or named: not even among the local
variables of a traceback, which notebooks and error reporters like to print. Only the
requests themselves, and a pickled query that was given the token literally, hold it.
"""

from __future__ import annotations

import gzip
import logging
import pickle
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import intake
import pytest
import xarray as xr
import yaml
from asking import asked
from dask.base import tokenize
from scripted import Reply, ScriptedServer
from trees import gzipped

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    MissingError,
    NeuroVaultError,
    OfflineError,
    PrivateError,
    ServerError,
)
from intake_neurovault.refs import Token
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer

SECRET = "QXJVZKWP"
"""The token; a text that nothing else holds."""
WRONG = "WQZJXKVV"
"""A token that opens nothing; it may be that of another collection."""
NAME = "LAB_MAPS"
"""The environment variable that holds the token."""
HIDDEN = [501, 502]
"""The images of the private collection 5."""
Ask = Callable[..., SearchResult]


def archive_with_secret() -> Archive:
    """A private collection beside a public one."""
    archive = Archive()
    archive.add_collection("Open", id=1)
    archive.add_image(1, gzipped(1), id=101)
    archive.add_collection("Hidden", id=5, token=SECRET, DOI="10.5555/h")
    for number in HIDDEN:
        archive.add_image(5, gzipped(number), id=number, name=f"map {number}")
    return archive


@pytest.fixture
def nv() -> Iterator[NeuroVaultServer]:
    """Serve that archive to one test."""
    with NeuroVaultServer(archive_with_secret()) as running:
        yield running


@pytest.fixture
def ask(nv: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask for the private collection by the name of a variable."""
    monkeypatch.setenv(NAME, SECRET)

    def query(**arguments: Any) -> SearchResult:
        settings = {
            "collection_ids": [f"env:{NAME}"],
            "url": nv.url,
            "data_dir": data_dir,
            "retries": 0,
            "grid": 12.0,
        }
        return search(**(settings | arguments))

    return query


LITERAL = {"collection_ids": [Token(secret=SECRET)]}


# ---- who sees it ----------------------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error, what caused it, and what else was being handled meanwhile."""
    known: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in known:
            known.append(each)
            waiting += [each.__cause__, each.__context__]
            yield each


def readable(value: object) -> str:
    """Give a variable as tracebacks that show variables do."""
    try:
        return repr(value)
    except ValueError:
        # NOTE: some of dask's expressions cannot be shown.
        return object.__repr__(value)


@dataclass
class Witness:
    """Keeps what somebody could see, and tells where a secret stands in it."""

    seen: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    """Where it was seen, and what."""

    def see(self, where: str, *things: object) -> None:
        """Take note of what is shown."""
        for thing in things:
            data = thing if isinstance(thing, bytes) else str(thing).encode()
            self.seen.append((where, data))

    def see_error(self, error: BaseException) -> None:
        """Take note of an error, of what led to it, and of the frames' variables."""
        self.see("traceback", *traceback.format_exception(error))
        for each in chain(error):
            self.see("error", each, repr(each), getattr(each, "failures", ()))
            for frame, _ in traceback.walk_tb(each.__traceback__):
                for name, value in frame.f_locals.items():
                    where = f"variable {name} in {frame.f_code.co_name}()"
                    self.see(where, readable(value))

    def see_folder(self, folder: Path) -> None:
        """Take note of every name and content, also of what is compressed."""
        for path in sorted(folder.rglob("*")):
            self.see("name of a file", path.relative_to(folder))
            if path.is_file():
                content = path.read_bytes()
                self.see(f"file {path.name}", content)
                if content[:2] == b"\x1f\x8b":
                    self.see(f"file {path.name}, unpacked", gzip.decompress(content))

    def see_logs(self, records: list[logging.LogRecord]) -> None:
        """Take note of all logs but those of the test server, which must know."""
        for record in records:
            if not record.name.startswith("intake_neurovault.testing"):
                self.see(f"log of {record.name}", record.getMessage(), record.args)
                if record.exc_info and record.exc_info[1]:
                    self.see_error(record.exc_info[1])

    def finds(self, secret: str) -> list[str]:
        """Say where a secret stands, in capitals or not."""
        wanted = secret.lower().encode()
        return [where for where, data in self.seen if wanted in data.lower()]


def fail(place: str) -> None:
    """Raise an error with the token in one place."""
    planted = SECRET if place == "local variables" else ""
    cause = ValueError(SECRET) if place == "traceback" else None
    error = OSError(SECRET if place == "error" else f"{len(planted)} letters")
    error.__context__ = cause
    raise error


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("error", {"error", "traceback", "variable error in fail()"}),
        ("traceback", {"error", "traceback", "variable cause in fail()"}),
        ("local variables", {"variable planted in fail()"}),
        ("log", {"log of urllib3.connectionpool"}),
        ("nothing", set()),
    ],
)
def test_a_witness_overlooks_nothing_that_is_told(
    caplog: pytest.LogCaptureFixture, place: str, found: set[str]
) -> None:
    witness = Witness()
    try:
        fail(place)
    except OSError as caught:
        error = caught
    witness.see_error(error)
    with caplog.at_level(logging.DEBUG):
        text = SECRET.lower() if place == "log" else ""
        logging.getLogger("urllib3.connectionpool").debug("GET /%s", text)
    witness.see_logs(caplog.records)
    own = "in test_a_witness"
    assert {each for each in witness.finds(SECRET) if own not in each} == found
    assert witness.finds(WRONG) == []


def test_a_witness_overlooks_nothing_that_is_written(tmp_path: Path) -> None:
    (tmp_path / f"a_{SECRET}").mkdir()
    (tmp_path / "b").write_text(f'{{"url": "/{SECRET}/"}}')
    (tmp_path / "c").write_bytes(gzip.compress(SECRET.encode()))
    (tmp_path / "d").write_text("harmless")
    xr.Dataset(attrs={"from": SECRET}).to_netcdf(tmp_path / "e", engine="netcdf4")
    witness = Witness()
    witness.see_folder(tmp_path)
    found = ["name of a file", "file b", "file c, unpacked", "file e"]
    assert witness.finds(SECRET) == found


# ---- everything that one can do with it -----------------------------------------


def look(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Look at records and tables."""
    found = result.found
    witness.see("found", found, *found.failures, found.steps)
    for record in (*found.images, *found.collections.values()):
        witness.see("record", record, record.raw, record.metadata)
    witness.see("tokens", *[each.token for each in found.collections.values()])
    witness.see("files", *[image.file for image in found.images])
    witness.see("table", result.df.to_csv(), result.df.to_dict())
    witness.see("account", result.explain().to_csv(), result.discover())


def fetch(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Download the files."""
    witness.see("paths", result.fetch())


def compute(result: SearchResult, witness: Witness, folder: Path) -> None:
    """Build the cube, compute it, and write it down."""
    cube = result.to_dask()
    show_cube(cube, witness)
    done = cube.compute()
    done.to_netcdf(folder / "cube.nc", engine="netcdf4")
    image = done.maps[0].nii.to_nifti(folder / "map.nii.gz")
    witness.see("image", image)


def native(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Read the maps on their own grid, as a cube and as a tree."""
    changed = SearchResult(
        result.query, type(result.reader).parse(grid=None), result.vault
    )
    witness.see("tree", changed.to_datatree())
    show_cube(changed.to_dask(), witness)
    witness.see("partition", changed.read_partition(0).attrs)


def without_store(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Compute after somebody has deleted the store: records are asked for anew."""
    cube = result.to_dask()
    shutil.rmtree(result.vault.mirror.store.root, ignore_errors=True)
    witness.see("cube", cube.maps.mean("image").compute().attrs)


def words(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Ask for Neurosynth's words."""
    found = result.found
    pairs = [(each, found.collections[each.collection_id]) for each in found.images]
    url = f"{result.vault.mirror.client.url}/api/decode/"
    witness.see("words", result.vault.words(pairs, url))


def show_cube(cube: xr.Dataset, witness: Witness) -> None:
    """Show all that a lazy cube tells about itself."""
    graph = cube.__dask_graph__()
    witness.see("cube", cube, cube._repr_html_(), cube.attrs, cube.nifti.attrs)
    witness.see("coordinates", cube.drop_vars("maps").to_dict())
    witness.see("graph", graph, *map(str, graph.to_dict()), *graph.layers)
    witness.see("tasks", *[repr(task) for task in graph.to_dict().values()])
    witness.see("token", tokenize(cube), cube.maps.name, cube.maps.encoding)


DEEDS = {
    each.__name__: each for each in (look, fetch, compute, native, without_store, words)
}

PLACES = {
    "lists": f"{SECRET}/images/",
    "records": f"/api/images/{SECRET}",
    "files": "^/media/",
}
KINDS = {
    "lists": "503 html bad_json short_body reset reset_body silent redirect_loop "
    "redirect_away gzip wrong_size wrong_types",
    "records": "500 html reset silent redirect_away wrong_types",
    "files": "500 503 html bad_json bit_flip short_body reset reset_body silent "
    "redirect_loop redirect_away gzip",
}
TROUBLES = [
    *("nothing", "no files", "500 at /api/collections/"),
    *(f"{kind} at {place}" for place, kinds in KINDS.items() for kind in kinds.split()),
]


def trouble_of(name: str) -> Fault:
    kind, _, place = name.partition(" at ")
    away = f"http://localhost:1/api/collections/{SECRET}/"
    match = PLACES.get(place, place)
    return Fault(match=match, kind=kind, seconds=5, location=away)  # type: ignore[arg-type]


HARMLESS = {"nothing", "gzip at lists", "gzip at files"}
"""What changes nothing."""


def do(
    deed: Callable[[SearchResult, Witness, Path], None],
    result: SearchResult,
    witness: Witness,
    folder: Path,
) -> bool:
    """Do something, and look at the failures; an error is one more thing to be seen."""
    done = True
    for step in (deed, failures):
        try:
            step(result, witness, folder)
        except NeuroVaultError as error:
            witness.see_error(error)
            done = False
    witness.see("result", result, repr(result.vault), repr(result.query), hash(result))
    return done


def failures(result: SearchResult, witness: Witness, _folder: Path) -> None:
    """Look at the table of what could not be had."""
    witness.see("failures", result.failures.to_csv(), result.failures.to_dict())


@pytest.mark.parametrize(
    ("trouble", "query"),
    [
        *((trouble, {}) for trouble in TROUBLES),
        ("nothing", LITERAL),
        ("no files", LITERAL),
        ("reset at lists", LITERAL),
        ("500 at records", LITERAL),
    ],
    ids=lambda value: "literal" if value == LITERAL else str(value or "env"),
)
def test_the_token_is_nowhere_to_be_seen(
    ask: Ask,
    nv: NeuroVaultServer,
    data_dir: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    trouble: str,
    query: Any,
) -> None:
    witness = Witness()
    caplog.set_level(logging.DEBUG)
    if " at " in trouble:
        nv.faults.append(trouble_of(trouble))
    if trouble == "no files":
        nv.archive.files.clear()
    timeout = 0.03 if "silent" in trouble else 5
    written = tmp_path / "written"
    written.mkdir()
    outcomes = []
    for name, deed in DEEDS.items():
        errors = "raise" if name in ("fetch", "without_store") else "warn"
        mode = "update" if name == "native" else "download_new"
        settings = {
            "errors": errors,
            "mode": mode,
            "timeout": timeout,
            "progress": True,
        }
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            outcomes.append(do(deed, ask(**query, **settings), witness, written))
        witness.see("warnings", *[each.message for each in warned])
    witness.see("screen", *capfd.readouterr())
    witness.see_logs(caplog.records)
    witness.see_folder(tmp_path)
    assert witness.finds(SECRET) == []
    assert any(SECRET in each.path for each in nv.requests)
    assert len(witness.seen) > 100
    assert all(outcomes) == (trouble in HARMLESS)


@pytest.mark.parametrize("place", ["lists", "files"])
def test_asking_again_is_logged_without_the_token(
    ask: Ask, nv: NeuroVaultServer, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    nv.faults.append(Fault(match=PLACES[place], kind="reset", times=1))
    with caplog.at_level(logging.DEBUG):
        assert list(ask(retries=1).fetch()) == HIDDEN
    assert "asking again in" in caplog.text
    witness = Witness()
    witness.see_logs(caplog.records)
    assert witness.finds(SECRET) == []


# ---- what a token opens ---------------------------------------------------------


def private_paths(nv: NeuroVaultServer) -> list[str]:
    """What was asked for since the last look, the token shortened."""
    return [path.replace(SECRET, "TOKEN") for path in asked(nv)]


LISTED = ["/api/collections/TOKEN/", "/api/collections/TOKEN/images/"]
FETCHED = [f"/media/images/TOKEN/image_{number}.nii.gz" for number in HIDDEN]


@pytest.mark.parametrize("query", [{}, LITERAL, {"collection_ids": SECRET}])
def test_a_token_opens_records_files_and_voxels(
    ask: Ask, nv: NeuroVaultServer, query: Any
) -> None:
    result = ask(**query)
    assert result.keys() == HIDDEN
    assert result.df.collection_id.tolist() == [5, 5]
    paths = result.fetch()
    assert [path.read_bytes() for path in paths.values()] == list(map(gzipped, HIDDEN))
    assert {path.parent.name for path in paths.values()} == {"collection_5"}
    cube = result.to_dask().compute()
    assert cube.maps.notnull().all()
    assert cube.attrs["citation_dois"] == "10.5555/h"
    assert private_paths(nv) == [*LISTED, *FETCHED]
    for mode in ("download_new", "offline"):
        assert ask(**query, mode=mode).to_dask().compute().maps.equals(cube.maps)
    assert asked(nv) == []


def test_native_grids_need_the_files_only(ask: Ask, nv: NeuroVaultServer) -> None:
    cube = ask(grid=None).to_dask()
    assert cube.maps.shape == (2, 19, 23, 19)
    assert private_paths(nv) == [*LISTED, *FETCHED]


def test_an_update_fetches_what_changed(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    ask().fetch()
    nv.archive.replace_file(501, gzipped(9))
    nv.archive.add_image(5, gzipped(503), id=503)
    asked(nv)
    assert list(ask(mode="update").fetch()) == [501, 502, 503]
    assert private_paths(nv) == [
        *LISTED,
        "/media/images/TOKEN/image_501_1.nii.gz",
        "/media/images/TOKEN/image_503.nii.gz",
    ]
    path = data_dir / "neurovault" / "collection_5" / "image_501.nii.gz"
    assert path.read_bytes() == gzipped(9)


def test_a_store_that_was_deleted_is_filled_again(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    maps = ask().to_dask().maps
    shutil.rmtree(data_dir / "neurovault")
    asked(nv)
    assert maps.compute().notnull().all()
    records = [f"/api/images/TOKEN-{number}/" for number in HIDDEN]
    assert [path for path in private_paths(nv) if path not in LISTED] == [
        *records,
        *FETCHED,
    ]


def test_words_are_asked_for_by_number_and_kept_without_the_token(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path
) -> None:
    settings = {"fetch_neurosynth_words": True, "words_url": f"{nv.url}/api/decode/"}
    cube = ask(**settings).to_dask()
    assert cube.word_weights.notnull().all()
    seen = [each for each in nv.requests if each.path == "/api/decode/"]
    asked_for = sorted(each.query for each in seen)
    assert asked_for == [f"neurovault={n}" for n in sorted(HIDDEN)]
    assert len(list(data_dir.rglob("collection_5/neurosynth_words*.json"))) == 2
    asked(nv)
    assert (
        ask(**settings, mode="offline").to_dask().word_weights.equals(cube.word_weights)
    )
    assert asked(nv) == []


def test_public_and_private_stand_side_by_side(ask: Ask) -> None:
    both = {"collection_ids": [1, f"env:{NAME}"], "image_ids": [101]}
    assert ask(**both).keys() == [101, *HIDDEN]
    assert ask(**both, image_terms={"name": "map 502"}).keys() == [502]


def test_a_redirection_takes_the_token_to_no_other_server(
    ask: Ask, nv: NeuroVaultServer
) -> None:
    with ScriptedServer(lambda _seen, _number: Reply(404)) as other:
        away = f"{other.url}/api/collections/{SECRET}/"
        nv.faults.append(Fault(match=SECRET, kind="redirect_away", location=away))
        with pytest.raises(ServerError, match="redirects to another host") as caught:
            ask().keys()
        assert other.seen == []
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# ---- written down, and sent elsewhere -------------------------------------------


def test_an_entry_names_the_variable_only(
    ask: Ask, nv: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    arguments = {"collection_ids": [f"env:{NAME}"], "data_dir": str(data_dir)}
    entry = {"driver": "neurovault", "args": {**arguments, "url": nv.url}}
    path = tmp_path / "lab.yaml"
    path.write_text(yaml.safe_dump({"sources": {"hidden": entry}}))
    source = intake.open_catalog(str(path)).hidden
    assert list(source.fetch()) == HIDDEN
    assert source.result.to_arguments() == entry["args"]
    assert yaml.safe_load(source.yaml())["sources"]["hidden"]["args"] == entry["args"]
    witness = Witness()
    witness.see("source", source, source._repr_html_(), source.yaml(), hash(source))
    witness.see("entry", source.describe(), source.discover(), source.query)
    witness.see("pickle", pickle.dumps(source), tokenize(source))
    show_cube(source.to_dask(), witness)
    witness.see_folder(tmp_path)
    assert witness.finds(SECRET) == []
    assert f"env:{NAME}" in repr(source)
    assert source == intake.open_neurovault(**entry["args"])


@pytest.mark.parametrize("given", [SECRET, Token(secret=SECRET), [1, SECRET]], ids=repr)
def test_a_literal_token_is_not_written_down(
    nv: NeuroVaultServer, data_dir: Path, given: Any
) -> None:
    source = intake.open_neurovault(
        collection_ids=given, url=nv.url, data_dir=str(data_dir)
    )
    for write in (source.yaml, source.result.to_arguments, source.query.to_arguments):
        with pytest.raises(ArgumentError, match=r"cannot be written down.*'env:NAME'"):
            write()
    witness = Witness()
    witness.see("source", source, source._repr_html_(), source.query, hash(source))
    witness.see("cube", tokenize(source), source.query.fingerprint())
    show_cube(source.to_dask(), witness)
    assert witness.finds(SECRET) == []
    assert set(source.keys()) >= set(HIDDEN)


def test_another_process_reads_the_variable_itself(
    ask: Ask,
    nv: NeuroVaultServer,
    tmp_path: Path,
    run_python: Callable[..., Any],
) -> None:
    result = ask()
    packed = pickle.dumps((result, result.to_dask()))
    assert SECRET.encode() not in packed
    (tmp_path / "packed").write_bytes(packed)
    code = (
        "import pickle, sys\n"
        "result, cube = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(result.keys(), float(cube.maps.mean().compute()))"
    )
    mean = float(result.to_dask().maps.mean().compute())
    done = run_python(code, str(tmp_path / "packed"))
    assert done.stdout.split("] ") == [f"{HIDDEN}"[:-1], f"{mean}\n"]
    shutil.rmtree(result.vault.mirror.store.root)
    lost = run_python(code, str(tmp_path / "packed"), env={NAME: ""}, check=False)
    assert f"The environment variable {NAME}" in lost.stderr
    assert f"{NAME}, which should hold the token" in lost.stderr.replace("\n", " ")


def test_a_literal_token_travels_with_its_query(ask: Ask) -> None:
    result = pickle.loads(pickle.dumps(ask(**LITERAL)))
    assert result.keys() == HIDDEN
    assert result == ask(**LITERAL)
    assert SECRET not in repr(result)


def test_names_tell_tokens_apart_without_showing_them(ask: Ask) -> None:
    named = tokenize(ask())
    assert tokenize(ask()) == named
    literal = tokenize(ask(**LITERAL))
    other = tokenize(ask(collection_ids=[Token(secret=WRONG)]))
    assert len({named, literal, other}) == 3


# ---- what is said when it does not open -----------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        ("", ArgumentError, f"{NAME}, which should hold .* is not set; set it or"),
        ("  ", ArgumentError, f"{NAME}, which should hold .* is not set; set it or"),
        (WRONG.lower(), ArgumentError, f"{NAME} does not hold the token .* eight cap"),
        (f"{WRONG}X", ArgumentError, f"{NAME} does not hold the token of a private"),
        (WRONG, MissingError, f"token is in {NAME} does not exist .* copy the token"),
    ],
)
def test_a_variable_that_opens_nothing_is_explained(
    ask: Ask,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
    error: type[NeuroVaultError],
    sentence: str,
) -> None:
    monkeypatch.setenv(NAME, value)
    witness = Witness()
    result = ask()
    with pytest.raises(error, match=sentence) as caught:
        result.keys()
    skipped = ask(errors="skip")
    assert skipped.keys() == []
    assert skipped.failures.reason.tolist() == [str(caught.value)]
    witness.see("failures", skipped.failures.to_csv())
    witness.see_error(caught.value.with_traceback(behind(caught.tb)))
    witness.see_folder(data_dir)
    assert witness.finds(value.strip() or SECRET) == []


def behind(trace: Any) -> Any:
    """Leave out the frame of the test, which knows the value that it has set."""
    return trace.tb_next


@pytest.mark.parametrize("given", ["WQZJXKV", "wqzjxkvv", "WQZJXKVVX", "wqzj-xkv"])
def test_a_slip_of_the_pen_is_not_repeated(ask: Ask, given: str) -> None:
    with pytest.raises(ArgumentError, match="does not name a collection") as caught:
        ask(collection_ids=[given])
    told = "".join(traceback.format_exception(caught.value))
    hidden = given != "wqzj-xkv"
    assert (given in str(caught.value)) != hidden
    assert (given in told) != hidden


def test_a_number_does_not_open_it(ask: Ask) -> None:
    with pytest.raises(PrivateError, match=r"Collection 5 .* is private: pass its tok"):
        ask(collection_ids=[5]).keys()
    with pytest.raises(MissingError, match="one in a private collection is had by"):
        ask(collection_ids=None, image_ids=HIDDEN).keys()
    fs = fsspec.filesystem("neurovault", url=ask().vault.mirror.client.url)
    with pytest.raises(PrivateError, match="is private"):
        fs.ls("collection_5")
    assert "collection_5" not in fs.ls("", detail=False)


def test_offline_it_is_known_by_its_token_only(
    ask: Ask, nv: NeuroVaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OfflineError, match=r"private collection .*is not in the store"):
        ask(mode="offline").keys()
    ask().fetch()
    asked(nv)
    assert list(ask(mode="offline").fetch()) == HIDDEN
    monkeypatch.setenv(NAME, WRONG)
    with pytest.raises(OfflineError, match=r"private collection .*is not in the store"):
        ask(mode="offline").keys()
    assert asked(nv) == []
