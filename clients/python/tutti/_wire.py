"""How values, names and durations are written on the wire.  Pure functions, any thread."""

from __future__ import annotations

import json
from typing import Any, Optional
from urllib.parse import quote


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8; a text that UTF-8 cannot hold is escaped instead.

    Raises TypeError or ValueError for what JSON cannot say.
    """
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None


def job_path(name: str, verb: str = "") -> str:
    """The path of a job's route; every character of the name is kept."""
    if not name:
        raise ValueError("a job needs a name")
    return "/v1/jobs/" + quote(name, safe="") + ("/" + verb if verb else "")


def duration(seconds: Optional[float]) -> Optional[str]:
    """Seconds as the server reads them, None stays None (a parameter that is not sent)."""
    return None if seconds is None else "%dms" % max(0, round(seconds * 1000))
