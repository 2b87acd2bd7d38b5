"""A configuration database under test: SQLite's file in a data directory, or a PostgreSQL that is emptied first; tutti's commands for it, and the engine's own
shell to look with."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional

from sql_servers import Sqlite
from tutti_process import binary


class Config:
    """A configuration database, and tutti's commands for it: without a server, they run inside their own process."""

    def __init__(self, folder: Path, server: Optional[Any]) -> None:
        self.data, self.server = folder / "d", server
        self.data.mkdir()
        self.shell = server or Sqlite(self.data / "config.db")
        self.events = "auditing.events" if server else "auditing_events"
        self.env: Dict[str, str] = {}
        if server:
            self.env = {"TUTTI_CONFIG_URL": "postgresql://tutti@127.0.0.1:%d/postgres" % server.port, "TUTTI_CONFIG_PASSWORD": server.password}
            server.ask("DROP SCHEMA IF EXISTS auditing CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def run(self, *args: Any, code: int = 0, given: Optional[str] = None, **env: str) -> str:
        base = {k: v for k, v in os.environ.items() if not k.startswith("TUTTI_")}
        done = subprocess.run([binary(), *map(str, args), "--data", self.data], input=given, capture_output=True, text=True, timeout=120, env={**base, **self.env, **env})
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def json(self, *args: Any, **more: Any) -> Any:
        return json.loads(self.run(*args, "--json", **more))

    def ask(self, statement: str) -> str:
        return self.shell.ask(statement)

    def rows(self, statement: str) -> List[List[str]]:
        return self.shell.rows(statement)

    def tables(self) -> List[str]:
        return sorted(row[0] for row in self.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'" if self.server else
                                                  "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"))
