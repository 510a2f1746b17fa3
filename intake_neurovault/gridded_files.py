"""Maps on a grid as files: uncompressed NIfTI-1 that says of what it was made.

Any tool opens them. An extension of the header holds, as JSON, by which rules a map
was brought to its grid and of which bytes, so that one file tells all. What is cut
off, foreign or of other rules is as good as absent, since it can be made again.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.grid import Grid
from intake_neurovault.headers import make_image
from intake_neurovault.layout import OURS, collection_dir
from intake_neurovault.nifti import NanPolicy, Reader
from intake_neurovault.receipts import Entry
from intake_neurovault.resampling import Method

FOLDER = f"{OURS}/gridded"
"""The folder of gridded maps, in a store."""

# NOTE: counts up with the layout, and when a reader gives other values than before.
_FORMAT = 1
_HEAD = 4096
_LONGEST_HEAD = 1 << 16
_HEADER = 348
_COMMENT = 6  # NIfTI's code of an extension that is text
_OFFSET = slice(108, 112)
_DESCRIPTION = slice(148, 228)
_LONGEST_AXIS = 2**15 - 1  # NIfTI-1 counts voxels in 16 bits
_ALIGNED_CODE = 2


@dataclass(frozen=True)
class Rules:
    """How a map is brought to its grid: what one folder of gridded maps shares.

    Examples
    --------
    >>> rules = Rules.of(Reader.parse(), discrete=False)
    >>> rules.path(12, 3)
    '.intake_neurovault/gridded/mni152-3mm_continuous_51ec50e8915f72f8/collection_12/\
image_3.nii'
    """

    grid: Grid
    """The grid."""
    method: Method
    """How values between voxels are made."""
    nan: NanPolicy
    """What becomes of voxels without a finite value."""
    fill: str
    """What stands outside a map's field of view, as text, since NaN is not itself."""

    @staticmethod
    def of(reader: Reader, discrete: bool) -> Rules | None:
        """Take them from a reader.

        Parameters
        ----------
        reader : Reader
            How a map is read.
        discrete : bool
            Whether its values are labels.

        Returns
        -------
        Rules or None
            None where the grid is each map's own, not read yet, or too large for
            NIfTI-1.
        """
        # NOTE: equal readers may differ in the sign of the zero that they fill with.
        return _rules_of(reader, discrete, str(reader.fill_value))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Rules:
        """Read what `to_json` wrote.

        Parameters
        ----------
        content : mapping
            JSON types.

        Returns
        -------
        Rules
            The rules.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it describes none.
        """
        reader = Reader.parse(
            grid=content["grid"],
            interpolation=content["interpolation"],
            nan=content["nan"],
            fill_value=content["fill_value"],
        )
        rules = cls.of(reader, discrete=False)
        if rules is None or rules.to_json() != content:
            msg = f"{content} are no rules"
            raise ValueError(msg)
        return rules

    def to_json(self) -> dict[str, Any]:
        """Write them down.

        Returns
        -------
        dict
            JSON types only; the names are those of the arguments of a search.
        """
        return {
            "grid": self.grid.to_spec(),
            "interpolation": self.method,
            "nan": self.nan,
            "fill_value": self.fill,
        }

    def path(self, collection_id: int, image_id: int) -> str:
        """Tell where the map of an image is kept.

        Parameters
        ----------
        collection_id, image_id : int
            The image.

        Returns
        -------
        str
            Relative to the store.
        """
        folder = collection_dir(collection_id)
        return f"{FOLDER}/{self.folder}/{folder}/image_{image_id:d}.nii"

    @cached_property
    def folder(self) -> str:
        """Name of the folder of their maps: for people, and a digest of all."""
        numbers = [self.grid.affine, self.grid.shape]
        text = json.dumps([_FORMAT, numbers, self.method, self.nan, self.fill])
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        name = self.grid.to_spec()
        return f"{name if isinstance(name, str) else 'grid'}_{self.method}_{digest}"

    @cached_property
    def data_bytes(self) -> int:
        """Bytes of the values of one map."""
        return int(np.prod(self.grid.shape)) * np.dtype(np.float32).itemsize

    @cached_property
    def header(self) -> bytes:
        """The header that all their maps share, without offset and description."""
        code = _ALIGNED_CODE
        image = make_image(
            np.broadcast_to(np.float32(0), self.grid.shape),
            self.grid.matrix,
            sform_code=code,
            qform_code=code if self.grid.axis_aligned else 0,
            xyzt_units="mm sec",
            description="",
        )
        image.header.set_slope_inter(1, 0)
        image.header["magic"] = b"n+1"
        return bytes(image.header.binaryblock)


@dataclass(frozen=True)
class Origin:
    """Of what a gridded map was made, and what came of it."""

    source: Entry
    """The bytes of the original, and which file of the server they are."""
    coverage: float
    """How much of the grid lies within the original's field of view, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file of a gridded map says of itself."""

    rules: Rules
    """How it was made."""
    origin: Origin
    """Of what."""
    offset: int
    """Bytes before the first value."""
    total: int
    """What `checksum` gives for all values."""


def checksum(values: bytes | memoryview) -> int:
    """Sum up the bytes of values, eight at a time.

    It is as fast as memory, and finds what was cut off, zeroed or overwritten.

    Parameters
    ----------
    values : bytes-like
        The values, as stored.

    Returns
    -------
    int
        The sum, of 64 bits.

    Examples
    --------
    >>> checksum(bytes([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]))
    3
    """
    words = np.frombuffer(values, np.uint32)
    pairs = words[: len(words) // 2 * 2].view(np.uint64).sum(dtype=np.uint64)
    return (int(pairs) + int(words[-1]) * (len(words) % 2)) % 2**64


def encode(
    rules: Rules, origin: Origin, values: NDArray[np.float32], label: str
) -> bytes:
    """Make the bytes of a file.

    Parameters
    ----------
    rules : Rules
        How the map was brought to its grid.
    origin : Origin
        Of what it was made.
    values : ndarray
        Float32, of the shape of the grid.
    label : str
        What the map is, for the description in the header.

    Returns
    -------
    bytes
        A whole NIfTI-1 file.
    """
    data = values.tobytes(order="F")
    content = {
        "software": "intake_neurovault",
        "format": _FORMAT,
        "rules": rules.to_json(),
        "source": origin.source.to_json(),
        "coverage": origin.coverage,
        "checksum": checksum(data),
    }
    text = json.dumps(content).encode("ascii")
    size = -(-(len(text) + 8) // 16) * 16
    extension = struct.pack("=ii", size, _COMMENT) + text.ljust(size - 8, b"\0")
    header = bytearray(rules.header)
    header[_OFFSET] = struct.pack("=f", _HEADER + 4 + size)
    about = f"{label}, on {rules.grid.describe()}, {rules.method}"
    header[_DESCRIPTION] = about.encode("latin-1", "replace")[:79].ljust(80, b"\0")
    return b"".join((header, b"\1\0\0\0", extension, data))


def read_content(file: FileIO, size: int) -> Content | None:
    """Read what a file says of itself; its values are not looked at.

    Parameters
    ----------
    file : io.FileIO
        The file, at its beginning.
    size : int
        Its bytes.

    Returns
    -------
    Content or None
        None if it is not a whole gridded map.
    """
    head = file.read(_HEAD)
    if len(head) < _HEADER + 12:
        return None
    (offset,) = struct.unpack("=f", head[_OFFSET])
    if not _HEADER + 12 <= offset <= _LONGEST_HEAD:
        return None
    offset = int(offset)
    if offset > len(head):
        head += file.read(offset - len(head))
    try:
        found = json.loads(head[_HEADER + 12 : offset].rstrip(b"\0"))
        content = _content(found, offset)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    whole = size == offset + content.rules.data_bytes
    return content if whole and _is_header(head, content.rules) else None


def is_whole(path: Path) -> bool:
    """Tell whether a file is a gridded map, where it belongs, read to its end.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    bool
        Whether header, length, place and values are those of one.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with FileIO(path) as file:
        data = file.readall()
        file.seek(0)
        content = read_content(file, len(data))
    if content is None or content.rules.folder != path.parents[1].name:
        return False
    return checksum(memoryview(data)[content.offset :]) == content.total


def _content(found: Any, offset: int) -> Content:
    if found["format"] != _FORMAT:
        msg = f"the format is {found['format']}"
        raise ValueError(msg)
    origin = Origin(Entry.from_json(found["source"]), float(found["coverage"]))
    rules = _rules(json.dumps(found["rules"]))
    return Content(rules, origin, offset, int(found["checksum"]))


# NOTE: thousands of files share the same rules, here and below.
@lru_cache(maxsize=256)
def _rules_of(reader: Reader, discrete: bool, fill: str) -> Rules | None:
    grid = reader.grid
    if not isinstance(grid, Grid) or max(grid.shape) > _LONGEST_AXIS:
        return None
    return Rules(grid, reader.method(discrete), reader.nan, fill)


@lru_cache(maxsize=256)
def _rules(text: str) -> Rules:
    return Rules.from_json(json.loads(text))


def _is_header(head: bytes, rules: Rules) -> bool:
    """Tell whether a header is that of the rules, but for offset and description."""
    found = bytearray(head[:_HEADER])
    for field in (_OFFSET, _DESCRIPTION):
        found[field] = rules.header[field]
    return bytes(found) == rules.header
