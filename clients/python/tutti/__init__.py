"""Client of the tutti items service.

    from tutti import Client

    job = Client("http://127.0.0.1:5005").job("words")
    for item in job.items():
        job.done(item, item.value["text"].split())

See `Client`, `Job`, `Item`, the errors below `TuttiError`, ``python -m tutti.worker --help``,
and `PlanchetClient` for scripts written for Planchet.
"""

from ._flow import Item, Stats
from .api import Batch, Failure, ItemError, JobApi, JobInfo, Received
from .client import Client
from .errors import (BadRequest, Busy, Cancelled, Conflict, Denied, LeaseLost, NotFound, Reject, ServerError,
                     TooLarge, TuttiError, Unreachable)
from .job import Items, Job
from .lake import Contract, LakeError, Secret, contract
from .planchet import PlanchetClient, Response

__version__ = "0.1.0"

__all__ = [
    "BadRequest", "Batch", "Busy", "Cancelled", "Client", "Conflict", "Contract", "Denied", "Failure", "Item", "ItemError",
    "Items", "Job", "JobApi", "JobInfo", "LakeError", "LeaseLost", "NotFound", "PlanchetClient", "Received", "Reject",
    "Response", "Secret", "ServerError", "Stats", "TooLarge", "TuttiError", "Unreachable",
    "contract",
]
