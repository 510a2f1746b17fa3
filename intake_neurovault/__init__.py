"""NeuroVault's brain maps as intake catalog entries and lazy xarray cubes.

The package's front door. Names are imported when first asked for (PEP 562), so
that ``import intake_neurovault``, and ``import intake`` with the plugin
installed, stay quick.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intake_neurovault.about import About
    from intake_neurovault.arguments import search
    from intake_neurovault.catalog import NeuroVaultCatalog
    from intake_neurovault.comparisons import (
        Contains,
        GreaterOrEqual,
        GreaterThan,
        IsIn,
        IsNull,
        LessOrEqual,
        LessThan,
        NotContains,
        NotEqual,
        NotIn,
        NotNull,
        Pattern,
    )
    from intake_neurovault.demo import run_demo
    from intake_neurovault.direct import NeuroVaultFileSystem
    from intake_neurovault.directory import Directory
    from intake_neurovault.driver import NeuroVaultSource
    from intake_neurovault.errors import (
        AnswerError,
        ArgumentError,
        ChangedError,
        CorruptFileError,
        EmptyResultError,
        ExtraError,
        Failure,
        FilterError,
        GeometryError,
        GridError,
        LockError,
        MissingError,
        NeuroVaultError,
        NeuroVaultWarning,
        OfflineError,
        PrivateError,
        ServerError,
        StoreError,
        UnknownArgumentError,
        UnreachableError,
        UnsuitableError,
        WordsError,
    )
    from intake_neurovault.filesystem import NeuroVaultCacheFileSystem
    from intake_neurovault.grid import GRIDS, Grid
    from intake_neurovault.named_entries import open_entry
    from intake_neurovault.nifti import Reader
    from intake_neurovault.nilearn_api import (
        fetch_neurovault,
        fetch_neurovault_ids,
    )
    from intake_neurovault.nilearn_samples import (
        fetch_neurovault_auditory_computation_task,
        fetch_neurovault_motor_task,
    )
    from intake_neurovault.nilearn_terms import (
        basic_collection_terms,
        basic_image_terms,
    )
    from intake_neurovault.opening import open_nifti
    from intake_neurovault.query import Query
    from intake_neurovault.records import Collection, Image
    from intake_neurovault.resampled import STD_AFFINE
    from intake_neurovault.result import SearchResult
    from intake_neurovault.result_filter import ResultFilter
    from intake_neurovault.upkeep import Cache
    from intake_neurovault.vault import Vault
    from intake_neurovault.word_files import neurosynth_words_vectorized

    __version__: str

_HOMES = {
    "about": ("About",),
    "arguments": ("search",),
    "catalog": ("NeuroVaultCatalog",),
    "comparisons": (
        "Contains",
        "GreaterOrEqual",
        "GreaterThan",
        "IsIn",
        "IsNull",
        "LessOrEqual",
        "LessThan",
        "NotContains",
        "NotEqual",
        "NotIn",
        "NotNull",
        "Pattern",
    ),
    "demo": ("run_demo",),
    "driver": ("NeuroVaultSource",),
    "errors": (
        "AnswerError",
        "ArgumentError",
        "ChangedError",
        "CorruptFileError",
        "EmptyResultError",
        "ExtraError",
        "Failure",
        "FilterError",
        "GeometryError",
        "GridError",
        "LockError",
        "MissingError",
        "NeuroVaultError",
        "NeuroVaultWarning",
        "OfflineError",
        "PrivateError",
        "ServerError",
        "StoreError",
        "UnknownArgumentError",
        "UnreachableError",
        "UnsuitableError",
        "WordsError",
    ),
    "direct": ("NeuroVaultFileSystem",),
    "directory": ("Directory",),
    "filesystem": ("NeuroVaultCacheFileSystem",),
    "grid": ("GRIDS", "Grid"),
    "named_entries": ("open_entry",),
    "nifti": ("Reader",),
    "nilearn_api": (
        "fetch_neurovault",
        "fetch_neurovault_ids",
    ),
    "nilearn_samples": (
        "fetch_neurovault_auditory_computation_task",
        "fetch_neurovault_motor_task",
    ),
    "nilearn_terms": ("basic_collection_terms", "basic_image_terms"),
    "opening": ("open_nifti",),
    "query": ("Query",),
    "records": ("Collection", "Image"),
    "resampled": ("STD_AFFINE",),
    "result": ("SearchResult",),
    "result_filter": ("ResultFilter",),
    "upkeep": ("Cache",),
    "vault": ("Vault",),
    "word_files": ("neurosynth_words_vectorized",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "GRIDS",
    "STD_AFFINE",
    "About",
    "AnswerError",
    "ArgumentError",
    "Cache",
    "ChangedError",
    "Collection",
    "Contains",
    "CorruptFileError",
    "Directory",
    "EmptyResultError",
    "ExtraError",
    "Failure",
    "FilterError",
    "GeometryError",
    "GreaterOrEqual",
    "GreaterThan",
    "Grid",
    "GridError",
    "Image",
    "IsIn",
    "IsNull",
    "LessOrEqual",
    "LessThan",
    "LockError",
    "MissingError",
    "NeuroVaultCacheFileSystem",
    "NeuroVaultCatalog",
    "NeuroVaultError",
    "NeuroVaultFileSystem",
    "NeuroVaultSource",
    "NeuroVaultWarning",
    "NotContains",
    "NotEqual",
    "NotIn",
    "NotNull",
    "OfflineError",
    "Pattern",
    "PrivateError",
    "Query",
    "Reader",
    "ResultFilter",
    "SearchResult",
    "ServerError",
    "StoreError",
    "UnknownArgumentError",
    "UnreachableError",
    "UnsuitableError",
    "Vault",
    "WordsError",
    "__version__",
    "basic_collection_terms",
    "basic_image_terms",
    "fetch_neurovault",
    "fetch_neurovault_auditory_computation_task",
    "fetch_neurovault_ids",
    "fetch_neurovault_motor_task",
    "neurosynth_words_vectorized",
    "open_entry",
    "open_nifti",
    "run_demo",
    "search",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # NOTE: reading what is installed takes as long as all else here together.
        value = import_module("importlib.metadata").version("intake-neurovault")
        globals()[name] = value
        return value
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg, name=name, obj=sys.modules[__name__])
    garbage = import_module(f"{__name__}.garbage")
    with garbage.uncollected():
        home = import_module(f"{__name__}.{_HOME_OF[name]}")
        garbage.settle()
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
