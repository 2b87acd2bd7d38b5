"""`Factory().get_storage_client("redis")`, with which older platforms keep their conversion maps; they are kept as tutti keeps them."""

from __future__ import annotations

import pickle
from typing import Mapping

from tutti.program import read_map, write_map


class MapClient:
    """Fields of the hash `maps` are pickles, as the platforms write them: of this very process, so that reading them is no risk."""

    def _check(self, key: str) -> None:
        if key != "maps":
            raise KeyError("only the conversion maps can be kept here, not `%s`" % key)

    def set(self, key: str, record: Mapping[str, bytes]) -> None:
        self._check(key)
        for name, packed in record.items():
            write_map(name, pickle.loads(packed))

    def get(self, key: str, field: str) -> bytes:
        self._check(key)
        return pickle.dumps(read_map(field))


class Factory:
    def get_storage_client(self, kind: str) -> MapClient:
        if kind != "redis":
            raise KeyError("there is no storage client `%s` here" % kind)
        return MapClient()
