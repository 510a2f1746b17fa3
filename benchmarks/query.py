"""A search in a filled store: this package against nilearn, both without a request.

    python benchmarks/query.py [--records 2000 20000] [--runs 5] [--quick]

Both look for the same images in the same store, offline: nilearn reads every record at
each search, this package asks its index. The two take turns in one process, and the
medians are compared; both must find the same. The first search of this package, which
makes the index, is told apart. Seconds depend on the machine; trust the ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PER_COLLECTION = 50
SERVER = "https://neurovault.org"
MAP_TYPES = ("Z map", "T map", "F map", "ROI/mask", "other")
PARADIGMS = ("n-back", "motor", "faces", "rest", "stop signal", "reading")
PROSE = "The contrast of one condition with another, as the authors describe it. "
SELECTIVE = {
    "map_type": "F map",
    "cognitive_paradigm_cogatlas": "motor",
    "number_of_subjects": {"$gte": 60},
}
BROAD = {
    "not_mni": False,
    "is_thresholded": False,
    "image_type": "statistic_map",
}
Search = Callable[[Mapping[str, Any]], list[int]]


def image(number: int, home: int) -> dict[str, Any]:
    """Make up the record of an image, about as long as real ones are."""
    names = importlib.import_module("intake_neurovault.schema").IMAGE_KINDS
    return dict.fromkeys(names) | {
        "id": number,
        "collection_id": home,
        "url": f"http://neurovault.org/images/{number}/",
        "collection": f"http://neurovault.org/collections/{home}/",
        "file": f"http://neurovault.org/media/images/{home}/map_{number}.nii.gz",
        "name": f"map {number}",
        "description": PROSE * (number % 7),
        "file_size": 1_000_000 + number,
        "add_date": "2016-01-21T17:26:53.123456Z",
        "modify_date": f"2017-01-{1 + number % 28:02d}T17:26:53.123456Z",
        "map_type": MAP_TYPES[number % 5],
        "cognitive_paradigm_cogatlas": PARADIGMS[number // 5 % 6],
        "contrast_definition": PROSE,
        "number_of_subjects": number % 90 or None,
        "is_thresholded": number % 6 == 0,
        "not_mni": number % 17 == 0,
        "perc_bad_voxels": number % 100 / 1.7,
        "brain_coverage": 90.1,
        "perc_voxels_outside": 12.3,
        "image_type": "statistic_map",
        "analysis_level": "group",
        "is_valid": True,
        "thumbnail": f"/media/images/{home}/thumbnail_{number}.jpg",
        "tags": [],
    }


def collection(number: int) -> dict[str, Any]:
    """Make up the record of a collection."""
    names = importlib.import_module("intake_neurovault.schema").COLLECTION_KINDS
    return dict.fromkeys(names) | {
        "id": number,
        "name": f"collection {number}",
        "description": PROSE * 5,
        "number_of_images": PER_COLLECTION,
        "DOI": f"10.5555/{number}",
    }


def fill(folder: Path, records: int) -> None:
    """Write lists and records as a first search and a fetch of all would."""
    ledger = importlib.import_module("intake_neurovault.ledger")
    sidecars = importlib.import_module("intake_neurovault.sidecars")
    root = folder / "neurovault"
    store = ledger.Ledger(root)
    homes = [collection(number) for number in range(1, records // PER_COLLECTION + 1)]
    for about in homes:
        home = about["id"]
        first = home * PER_COLLECTION
        images = [image(first + place, home) for place in range(PER_COLLECTION)]
        place = root / f"collection_{home}"
        place.mkdir(parents=True)
        written = sidecars.collection_bytes(about, home)
        (place / "collection_metadata.json").write_bytes(written)
        for raw in images:
            name = f"image_{raw['id']}_metadata.json"
            (place / name).write_bytes(sidecars.image_bytes(raw, home, raw["id"]))
            # NOTE: nobody reads the maps, but nilearn looks whether they are there.
            (place / f"image_{raw['id']}.nii.gz").touch()
        save(ledger, store, home, images, about)
    save(ledger, store, None, homes, None)


def save(
    ledger: Any,
    store: Any,
    number: int | None,
    records: Sequence[dict[str, Any]],
    about: dict[str, Any] | None,
) -> None:
    """Keep a list."""
    count = len(records)
    listing = ledger.StoredListing(tuple(records), about, count, time.time(), True)
    store.save_listing(SERVER, number, listing)


def ours(folder: Path) -> Search:
    """Prepare the search with this package."""
    search = importlib.import_module("intake_neurovault").search

    def find(terms: Mapping[str, Any]) -> list[int]:
        found = search(
            image_terms=terms,
            collection_terms={},
            max_images=None,
            mode="offline",
            data_dir=folder,
            url=SERVER,
            progress=False,
        )
        return [each.id for each in found]

    return find


def nilearns(folder: Path) -> Search:
    """Prepare the same search with nilearn."""
    fetch = importlib.import_module("nilearn.datasets").fetch_neurovault
    at_least = importlib.import_module("nilearn.datasets.neurovault").GreaterOrEqual

    def find(terms: Mapping[str, Any]) -> list[int]:
        own = {
            name: at_least(bound["$gte"]) if isinstance(bound, dict) else bound
            for name, bound in terms.items()
        }
        with contextlib.redirect_stdout(io.StringIO()):
            found = fetch(
                image_terms=own,
                collection_terms={},
                max_images=None,
                mode="offline",
                data_dir=folder,
                resample=False,
                verbose=0,
            )
        return [about["id"] for about in found.images_meta]

    return find


def timed(find: Search, terms: Mapping[str, Any]) -> tuple[float, list[int]]:
    """Search once."""
    began = time.perf_counter()
    found = find(terms)
    return time.perf_counter() - began, found


def compare(records: int, runs: int) -> list[str]:
    """Measure one store, and give the lines of the table."""
    with tempfile.TemporaryDirectory(prefix="query-") as place:
        folder = Path(place)
        fill(folder, records)
        # NOTE: what has just been written is read once more, to be sure of it.
        time.sleep(2.5)
        own, theirs = ours(folder), nilearns(folder)
        first = timed(own, SELECTIVE)[0]
        lines = []
        for name, terms in (("selective", SELECTIVE), ("broad", BROAD)):
            own(terms)
            pairs = []
            for _ in range(runs):
                ((slow, expected), (quick, found)) = (
                    timed(theirs, terms),
                    timed(own, terms),
                )
                if sorted(found) != sorted(expected):
                    msg = f"{name}: {len(found)} images, but nilearn {len(expected)}"
                    raise AssertionError(msg)
                pairs.append((slow, quick))
            slow, quick = (statistics.median(side) for side in zip(*pairs, strict=True))
            lines.append(
                f"| {records}, {name} | {len(found)} | {slow / quick:.0f} "
                f"| {slow:.3f} | {quick:.4f} | {first:.2f} |"
            )
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--records", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--runs", type=int, default=5, help="how often, for each")
    parser.add_argument(
        "--quick", action="store_true", help="a few records, to see that it runs"
    )
    chosen = parser.parse_args(arguments)
    sizes, runs = ([200], 1) if chosen.quick else (chosen.records, chosen.runs)
    print(f"Searches of a filled store, medians of {runs} runs\n")
    print(
        "| records, terms | found | times faster | nilearn, s | this package, s "
        "| its first search, s |\n|---|---:|---:|---:|---:|---:|"
    )
    for records in sizes:
        print("\n".join(compare(records, runs)), flush=True)


if __name__ == "__main__":
    main()
