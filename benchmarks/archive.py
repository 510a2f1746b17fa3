"""An index of the whole archive: its size, how long it takes, what it needs.

    python -m benchmarks --only archive [--data FOLDER] [--output FOLDER] [--quick]

NeuroVault has about 540,000 public images. As many made-up records, in lists as a
first search saves them and in the proportions of the real ones, are put into an index
once; then a few searches are timed, each kind in a process of its own, whose memory at
the peak is told beside what the imports alone take. With --data the lists are kept
there, and used again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

RECORDS = 540_000
SERVER = "https://neurovault.org"
IMAGES_A_COLLECTION = 45
LARGE = (29_464, 18_000, 9_532, 6_573)  # collections 16103, 4337, 6618 and 1952
PROSE = "The contrast of one condition with another, as the authors describe it. "
PARADIGMS = ("n-back", "motor", "faces", "rest", "stop signal", "reading", None, None)

# NOTE: how often each value occurs in the archive, in thousands of images.
MAP_TYPES = {
    "univariate-beta map": 152,
    "variance": 138,
    "Z map": 100,
    "other": 68,
    "T map": 68,
    "ROI/mask": 10,
    "P map (given null hypothesis)": 5,
    "parcellation": 1,
    "F map": 1,
}
LEVELS = {
    "single-subject": 409,
    "group": 45,
    "meta-analysis": 10,
    "other": 2,
    None: 77,
}
THRESHOLDED = {False: 482, True: 55, None: 7}
SELECTIVE = {
    "map_type": "T map",
    "cognitive_paradigm_cogatlas": "motor",
    "number_of_subjects": {"$gte": 60},
    "analysis_level": "group",
}
FILLING = "filling"
CASES: Mapping[str, Mapping[str, Any]] = {
    "selective": {"image_terms": SELECTIVE, "collection_terms": {}, "max_images": None},
    "twenty ids": {"image_ids": list(range(1_000, 1_020))},
    "default terms, the first 100": {},
    "default terms, all": {"max_images": None},
}


def sizes(records: int) -> list[int]:
    """Say how many images each collection has: most few, a few very many."""
    chance = random.Random(0)
    large = [each for each in LARGE if each < records / 10]
    number = max(2, records // IMAGES_A_COLLECTION) - len(large)
    weights = [chance.lognormvariate(0.0, 1.6) for _ in range(number)]
    share = (records - sum(large)) / sum(weights)
    return large + [max(1, round(share * weight)) for weight in weights]


def picked(chance: random.Random, weights: Mapping[Any, int]) -> Any:
    """Draw a value as often as it occurs."""
    return chance.choices(list(weights), list(weights.values()))[0]


def image(number: int, home: int, chance: random.Random) -> dict[str, Any]:
    """Make up the record of an image, about as long as real ones are."""
    names = importlib.import_module("intake_neurovault.schema").IMAGE_KINDS
    about = {
        "id": number,
        "collection_id": home,
        "url": f"http://neurovault.org/images/{number}/",
        "collection": f"http://neurovault.org/collections/{home}/",
        "file": f"http://neurovault.org/media/images/{home}/map_{number}.nii.gz",
        "name": f"sub-{number % 90:02d}_task-{number % 7}_contrast-{number % 31}",
        "description": PROSE * chance.randrange(5),
        "file_size": chance.randrange(200_000, 3_000_000),
        "add_date": "2016-01-21T17:26:53.123456Z",
        "modify_date": f"2017-01-{1 + number % 28:02d}T17:26:53.123456Z",
        "map_type": picked(chance, MAP_TYPES),
        "analysis_level": picked(chance, LEVELS),
        "is_thresholded": picked(chance, THRESHOLDED),
        "not_mni": chance.random() < 0.004,
        "cognitive_paradigm_cogatlas": chance.choice(PARADIGMS),
        "contrast_definition": PROSE,
        "number_of_subjects": chance.choice([1, 1, 1, 20, 64, None]),
        "modality": "fMRI-BOLD",
        "target_template_image": "GenericMNI",
        "subject_species": "homo sapiens",
        "perc_bad_voxels": chance.random() * 90,
        "brain_coverage": 90.1,
        "perc_voxels_outside": 12.3,
        "image_type": "statistic_map",
        "is_valid": True,
        "thumbnail": f"/media/images/{home}/thumbnail_{number}.jpg",
    }
    # NOTE: the fields that people add differ from collection to collection.
    own = {f"field {home % 150} {place}": number % 11 for place in range(home % 6)}
    return dict.fromkeys(names) | about | own


def collection(number: int, images: int) -> dict[str, Any]:
    """Make up the record of a collection."""
    names = importlib.import_module("intake_neurovault.schema").COLLECTION_KINDS
    return dict.fromkeys(names) | {
        "id": number,
        "name": f"collection {number}",
        "description": PROSE * 5,
        "number_of_images": images,
        "DOI": f"10.5555/{number}" if number % 7 == 0 else None,
    }


def fill(root: Path, records: int) -> None:
    """Write the lists that a first search would save."""
    ledger = importlib.import_module("intake_neurovault.ledger")
    store, chance, first = ledger.Ledger(root), random.Random(0), 1
    homes = []
    for home, number in enumerate(sizes(records), start=1):
        about = collection(home, number)
        images = [image(first + each, home, chance) for each in range(number)]
        saved = ledger.StoredListing(tuple(images), about, number, time.time(), True)
        store.save_listing(SERVER, home, saved)
        homes.append(about)
        first += number
    everything = tuple(homes)
    saved = ledger.StoredListing(everything, None, len(homes), time.time(), True)
    store.save_listing(SERVER, None, saved)


def peak() -> float:
    """Give the memory of this process at its peak, in MB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (2**20 if sys.platform == "darwin" else 2**10)


def search(folder: Path, case: str) -> tuple[float, int]:
    """Search once, and give the seconds and how many were found."""
    package = importlib.import_module("intake_neurovault")
    began = time.perf_counter()
    found = package.search(
        **CASES[case], mode="offline", data_dir=folder, url=SERVER, progress=False
    )
    number = len(found)
    return time.perf_counter() - began, number


def work(folder: Path, case: str, runs: int) -> None:
    """Do one case in this process, and print what it took as JSON."""
    if case == FILLING:
        fill(folder / "neurovault", runs)
        print("{}")
        return
    importlib.import_module("intake_neurovault.arguments")
    before = peak()
    took = [search(folder, case) for _ in range(runs)]
    figures = {
        "first": took[0][0],
        "warm": min(each[0] for each in took[1:] or took),
        "found": took[0][1],
        "peak": peak(),
        "before": before,
    }
    print(json.dumps(figures))


def measured(folder: Path, case: str, runs: int) -> dict[str, float]:
    """Do one case in a process of its own."""
    command = [sys.executable, __file__, case, "--runs", str(runs)]
    done = subprocess.run(
        [*command, "--folder", str(folder)], check=True, stdout=subprocess.PIPE
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def lines(folder: Path, records: int, runs: int) -> Iterator[str]:
    """Fill a store if it is empty, measure, and give the lines of the report."""
    root = folder / "neurovault"
    if not root.exists():
        # NOTE: memory at the peak is handed down to what a process starts.
        measured(folder, FILLING, records)
    # NOTE: what has just been written is read once more, to be sure of it.
    time.sleep(2.5)
    ours = root / ".intake_neurovault"
    for old in ours.glob("index-*.sqlite"):
        old.unlink()
    built = measured(folder, "selective", 1)
    lists = [path.stat().st_size for path in ours.rglob("*.json")]
    size = sum(path.stat().st_size for path in ours.glob("index-*.sqlite"))
    number = sum(sizes(records))
    yield f"{number:,} records in {len(lists) - 1:,} lists, {sum(lists) / 1e6:,.0f} MB"
    yield (
        f"index: {size / 1e6:,.0f} MB, made in {built['first']:.1f} s, at the peak "
        f"{built['peak']:.0f} MB of memory, {built['before']:.0f} of it for imports\n"
    )
    yield "| search | found | first, s | again, s | peak, MB | imports, MB |"
    yield "|---|---:|---:|---:|---:|---:|"
    for case in CASES:
        took = measured(folder, case, runs)
        yield (
            f"| {case} | {took['found']} | {took['first']:.2f} | {took['warm']:.3f} "
            f"| {took['peak']:.0f} | {took['before']:.0f} |"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    work(chosen.folder, chosen.case, chosen.runs)
