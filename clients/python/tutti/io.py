"""``python -m tutti.io module:Class``: a reader or writer class with Planchet's signature as a command of the server's configuration.

    [reader.MyReader]
    command = python3 -m tutti.io mymodule:MyReader

    [sink.MyWriter]
    command = python3 -m tutti.io mymodule:MyWriter

A reader is made with the job's metadata and called with a number; it returns a list of ``(id, value)``, and an empty one at the end. Ids rise;
where numbers are left out, there is no item. A writer is made with the metadata and called with a list of values; when it
returns, they are kept. What the classes print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, Callable, Dict, IO, List, Tuple

CHUNK = 1000
MOST_MISSING = 10_000_000

Reader = Callable[[int], List[Tuple[int, Any]]]
Writer = Callable[[List[Any]], Any]


def find_class(name: str) -> Callable[[Dict[str, Any]], Any]:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError("%r is not module:Class" % name)
    found = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found  # type: ignore[return-value]


def read_all(reader: Reader, chunk: int, out: IO[str]) -> None:
    """Each value on the line of its id; ids that are left out have blank lines, which are no items."""
    line = 0
    while True:
        items = reader(chunk)
        if not items:
            return
        for id, value in items:
            if id < line:
                raise ValueError("the reader gives id %d after id %d: ids must rise" % (id, line - 1))
            if id - line > MOST_MISSING:
                raise ValueError("the reader gives id %d after id %d: too many are left out" % (id, line - 1))
            out.write("\n" * (id - line))
            out.write(json.dumps(value, ensure_ascii=False) + "\n")
            line = id + 1


def write_all(writer: Writer, records: IO[str], out: IO[str]) -> None:
    values: List[Any] = []
    for text in records:
        record = json.loads(text)
        if "commit" not in record:
            values.append(record["value"])
            continue
        if values:
            writer(values)
        values = []
        out.write(json.dumps({"committed": record["commit"]}) + "\n")
        out.flush()


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stderr if len(sys.argv) != 2 else sys.stdout)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)  # what the class prints
    records = os.fdopen(0, "r", encoding="utf-8", newline="\n")
    hello = json.loads(records.readline())
    sys.path.insert(0, os.getcwd())
    made = find_class(sys.argv[1])(hello["metadata"])
    if hello["tutti"] == "reader":
        read_all(made, int(hello["metadata"].get("chunk_size") or CHUNK), out)
    else:
        write_all(made, records, out)
    out.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
