"""The table: what is compared, and what is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.case import Case, Check, Data, Side

EQUAL = Check("checks.equal")
CLOSE = Check("checks.close", 1e-5)
"""Single-precision rounding: a hundred-thousandth of the largest value."""
CLIPPED = Check("checks.clipped", 1e-5)
MAPS = Check("checks.maps", 1e-5)
LIMITS = {"gridded": "copy", "originals": "inflate"}
"""What bounds the reading of either kind of files."""
LARGE = 24
"""So many large images are fetched."""


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    images: int = 200
    """Fetched and stacked."""
    many: int = 2_000
    """Stacked, to see whether memory grows."""
    records: tuple[int, ...] = (2_000, 20_000, 100_000)
    """Searched, each with the next of `SEARCHES`."""
    cubes: tuple[int, ...] = (200, 2_000, 20_000)
    """Opened, each with the next of `CUBES`."""
    mixture: tuple[str, ...] = ("fsl2", "fsl2", "fmriprep2", "fsl2", "spm2", "fsl2")
    """The grids of what is fetched."""
    uniform: tuple[str, ...] = ("fsl2",)
    """The grid of what is stacked: nilearn wants one for all maps of a list."""
    large: tuple[str, ...] = ("fsl1",)
    """The grid of large files."""
    latency: float = 0.05
    """Seconds that every answer takes longer, where it is not 0."""


FULL = Scale()
QUICK = Scale(
    images=5,
    many=10,
    records=(100,),
    cubes=(100,),
    mixture=("mni6", "spm3"),
    uniform=("mni6",),
    large=("mni6",),
    latency=0.01,
)
SEARCHES = (100, 150, 150)
CUBES = (30, 100, 100)


def cases(scale: Scale) -> tuple[Case, ...]:
    """Give all cases, those of one peer on the same data behind one another."""
    return (
        *fetching(scale),
        *searching(scale),
        *opening(scale),
        *one_map(scale),
        *matrices(scale),
        *averages(scale),
        *regions(scale),
        *memory(scale),
        *unasked(scale),
    )


def fetching(scale: Scale) -> Iterator[Case]:
    """Cold fetches."""
    data = Data("server", 3 * scale.images, scale.mixture)
    count = {"count": scale.images}
    name = f"cold fetch of {scale.images} images"
    wait = f"{1000 * scale.latency:.0f} ms"
    for latency, workers, faster in (
        (0.0, 8, 2),
        (scale.latency, 8, 8),
        (scale.latency, 16, 12),
    ):
        how = {**count, "latency": latency}
        yield Case(
            f"{name}, {wait if latency else '0 ms'}, {workers} workers",
            Side.of("ours.fetch", workers=workers, **how),
            Side.of("nilearns.fetch", **how),
            EQUAL,
            data,
            Side.of("limits.transfer", "loopback or waiting", workers=workers, **how),
            faster=faster,
        )
    for latency in (0.0, scale.latency):
        how = {**count, "latency": latency}
        yield Case(
            f"{name}, resampled to 3 mm, {wait if latency else '0 ms'}",
            Side.of("ours.fetch_resampled", **how),
            Side.of("nilearns.fetch_resampled", **how),
            MAPS,
            data,
            Side.of("limits.transfer", "loopback or waiting", **how)
            if latency
            else Side.of("limits.inflate", "inflate", **count),
            faster=12,
        )


def searching(scale: Scale) -> Iterator[Case]:
    """Warm searches."""
    for size, faster in zip(scale.records, SEARCHES, strict=False):
        yield query_case(size, "selective", faster)
    size = scale.records[min(1, len(scale.records) - 1)]
    yield query_case(size, "default", 25)


def query_case(size: int, terms: str, faster: float) -> Case:
    """Make the case of one search."""
    return Case(
        f"warm query of {size:,} records, {terms} terms",
        Side.of("ours.query", terms=terms),
        Side.of("nilearns.query", terms=terms),
        EQUAL,
        Data("records", size),
        faster=faster,
        warm=True,
    )


def opening(scale: Scale) -> Iterator[Case]:
    """Lazy cubes, in a process that runs and in one that is started for it."""
    theirs = Side.of("nilearns.open_all")
    for size, faster in zip(scale.cubes, CUBES, strict=False):
        for function, what in (
            ("ours.open_found", "from a result in hand"),
            ("ours.open_lazily", "query included"),
        ):
            yield Case(
                f"lazy open of {size:,} stored maps, {what}",
                Side.of(function),
                theirs,
                EQUAL,
                Data("records", size),
                faster=faster,
                warm=True,
            )
    size = scale.records[0]
    yield Case(
        f"whole process: query and lazy open, {size:,} records",
        Side.of("ours.whole_process"),
        Side.of("nilearns.whole_process"),
        EQUAL,
        Data("records", size),
        faster=2.5,
        inside=False,
    )


def stored(scale: Scale) -> Data:
    """Give the store of maps."""
    return Data("maps", scale.images, scale.uniform)


def one_map(scale: Scale) -> Iterator[Case]:
    """One map, by cubic splines."""
    for where, name, faster in (
        ("array", "in memory", 25),
        ("file", "from the file", 8),
    ):
        yield Case(
            f"one map 2 mm → 3 mm, cubic, {name}",
            Side.of(f"ours.resample_{where}"),
            Side.of(f"nilearns.resample_{where}"),
            CLOSE,
            stored(scale),
            Side.of("limits.inflate", "inflate", count=1) if where == "file" else None,
            faster=faster,
            warm=True,
        )


def matrices(scale: Scale) -> Iterator[Case]:
    """The matrix of images and voxels, from either kind of files."""
    listed = Side.of("nilearns.matrix", kept="originals")
    two = Side.of("nilearns.matrix_by_map", kept="originals", processes=2)
    own = Side.of("ours.matrix", kept="originals")
    bare = Side.of("ours_zlib.matrix", kept="originals")
    for ours, theirs, way, faster, smaller in (
        (own, listed, "a list", 25, 5),
        (own, two, "two processes", 10, None),
        (bare, two, "two processes; ours: zlib", 6, None),
    ):
        yield matrix_case(scale, way, ours, theirs, faster, smaller)
    listed = Side.of("nilearns.matrix", kept="gridded")
    one = Side.of("nilearns.matrix_by_map", kept="gridded", processes=1)
    two = Side.of("nilearns.matrix_by_map", kept="gridded", processes=2)
    own = Side.of("ours.matrix", kept="gridded")
    for theirs, way, faster in (
        (listed, "a list", 20),
        (one, "map by map", 8),
        (two, "two processes", 8),
    ):
        yield matrix_case(scale, way, own, theirs, faster, None)


def matrix_case(
    scale: Scale,
    way: str,
    ours: Side,
    theirs: Side,
    faster: float,
    smaller: float | None,
) -> Case:
    """Make the case of one matrix, and of one way to have it of nilearn."""
    kept = str(dict(ours.arguments)["kept"])
    limit = LIMITS[kept]
    return Case(
        f"matrix of {scale.images} maps, {kept}, nilearn: {way}",
        ours,
        theirs,
        CLIPPED if theirs.function == "nilearns.matrix" else CLOSE,
        stored(scale),
        Side.of(f"limits.{limit}", limit, count=scale.images),
        faster=faster,
        smaller=smaller,
        inside="two processes" not in way,
    )


def averages(scale: Scale) -> Iterator[Case]:
    """Means over images."""
    for kept, faster in (("gridded", 5), ("originals", 20)):
        limit = LIMITS[kept]
        yield Case(
            f"mean of {scale.images} maps, {kept}",
            Side.of("ours.mean", kept=kept),
            Side.of("nilearns.mean", kept=kept),
            CLOSE,
            stored(scale),
            Side.of(f"limits.{limit}", limit, count=scale.images),
            faster=faster,
            smaller=8,
        )


def regions(scale: Scale) -> Iterator[Case]:
    """A small part of each map."""
    for what, name, faster in (
        ("sphere", "8 mm sphere", 35),
        ("voxel", "one voxel", 15),
    ):
        yield Case(
            f"{name} across {scale.images} maps",
            Side.of(f"ours.{what}"),
            Side.of(f"nilearns.{what}"),
            CLOSE,
            stored(scale),
            faster=faster,
            warm=True,
        )


def memory(scale: Scale) -> Iterator[Case]:
    """Whether memory grows with the number of maps, or with their size."""
    few, many = scale.images, scale.many
    yield Case(
        f"mean of {many:,} maps, originals, against {few} by this package",
        Side.of("ours.mean", kept="originals"),
        Side.of("ours.mean", kept="originals", first=few),
        CLOSE,
        Data("originals", many, scale.uniform),
        smaller=0.9,
    )


def unasked(scale: Scale) -> Iterator[Case]:
    """What has no aim, and is measured when it is named."""
    served = 3 * scale.images
    for name, count, data in (
        ("images", served, Data("server", served, scale.mixture)),
        ("large images", LARGE, Data("server", LARGE, scale.large, full=True)),
    ):
        yield Case(
            f"cold fetch of {count} {name}, 0 ms",
            Side.of("ours.fetch", count=count, latency=0.0),
            Side.of("nilearns.fetch", count=count, latency=0.0),
            EQUAL,
            data,
            Side.of("limits.transfer", "loopback", count=count, latency=0.0),
        )
    size = scale.records[min(1, len(scale.records) - 1)]
    yield Case(
        f"first query of {size:,} records, selective terms, which makes the index",
        Side.of("ours.first_query", terms="selective"),
        Side.of("nilearns.query", terms="selective"),
        EQUAL,
        Data("records", size),
    )
