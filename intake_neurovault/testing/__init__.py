"""A server that answers as NeuroVault does, for tests and demonstrations.

It runs in a thread on the loopback interface, holds a sample archive of genuine
NIfTI files, has NeuroVault's quirks, and breaks in chosen ways when asked to::

    with NeuroVaultServer() as server:
        server.faults.append(Fault(match="/media/", kind="reset", times=1))
        ...  # point a client at server.url
        server.requests  # what the client asked for
"""

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.faults import Fault
from intake_neurovault.testing.sample import PRIVATE_NAME, sample_archive
from intake_neurovault.testing.server import NeuroVaultServer, Request
from intake_neurovault.testing.surfaces import Surface, add_surfaces, gifti_bytes
from intake_neurovault.testing.volumes import Volume

__all__ = [
    "PRIVATE_NAME",
    "Archive",
    "Fault",
    "NeuroVaultServer",
    "Request",
    "Surface",
    "Volume",
    "add_surfaces",
    "gifti_bytes",
    "sample_archive",
]
