"""A lake in a directory of its own, for tests."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List

from tutti_process import BAD_WORDS, binary

LIMIT_S = 120
ORDERS = "acme/widget/ingest/orders"
RUN_ID = "__metadata_run_id"
METADATA = [RUN_ID, "__metadata_run_timestamp", "__metadata_app_version", "__metadata_transform_timestamp", "__metadata_output_contract"]


class Lake:
    def __init__(self, place: Path) -> None:
        self.place, self.root = place, place / "lake"

    def environment(self, **env: str) -> Dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ICHAIN_", "BRANCH_NAME"))}
        return {**kept, "HOME": str(self.place), "TUTTI_LAKE": str(self.root), "TUTTI_BRANCH_NAME": "local", **env}

    def start(self, *args: Any, **env: str) -> subprocess.CompletedProcess:
        return subprocess.run([str(binary()), "lake", *map(str, args)], capture_output=True, timeout=LIMIT_S, text=True, stdin=subprocess.DEVNULL, cwd=self.place,
                              env=self.environment(**env))

    def run(self, *args: Any, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        done = self.start(*args, **env)
        assert done.returncode == code and not any(word in done.stderr for word in BAD_WORDS), done.stderr
        return done

    def file(self, name: str, text: str) -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    def rows(self, contract: str, *args: Any) -> List[Dict[str, Any]]:
        return [json.loads(line) for line in self.run("fetch", contract, *args).stdout.splitlines()]

    def dataset(self, contract: str) -> Path:
        return self.root / "dev" / "local" / contract

    def show(self, contract: str) -> Dict[str, Any]:
        return json.loads(self.run("show", contract).stdout)
