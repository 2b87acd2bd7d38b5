"""Readers and writers of the stand-in: called with a count, a reader gives that many (id, value) pairs, none at the end."""
import json
import logging
import os
import threading

import pandas


class CsvReader:
    """Rows through pandas, chunk by chunk; ids count data rows."""

    def __init__(self, metadata):
        self._chunks = pandas.read_csv(metadata["input_file_path"], chunksize=int(metadata.get("chunk_size", 100)))
        self._rows = self._all_rows()
        self._lock = threading.Lock()

    def _all_rows(self):
        item_id = 0
        for chunk in self._chunks:
            for _, row in chunk.iterrows():
                yield item_id, row.tolist()
                item_id += 1

    def __call__(self, count):
        with self._lock:
            return [pair for _, pair in zip(range(count), self._rows)]


class JsonlReader:
    """One JSON value per line; ids are line numbers; a malformed line is logged and skipped."""

    def __init__(self, metadata):
        self._file = open(metadata["input_file_path"])
        self._next_id = 0
        self._lock = threading.Lock()

    def __call__(self, count):
        pairs = []
        with self._lock:
            while len(pairs) < count:
                line = self._file.readline()
                if not line:
                    break
                try:
                    pairs.append((self._next_id, json.loads(line)))
                except ValueError:
                    logging.error("line %d is not JSON", self._next_id)
                self._next_id += 1
        return pairs


class Writer:
    """Opens the output for each batch, appending unless the metadata says overwrite."""

    def __init__(self, metadata):
        self.file_path = metadata["output_file_path"]
        self._mode = "w" if metadata.get("overwrite") else "a"
        self._header = self._mode == "w" or not os.path.exists(self.file_path)

    def clean(self):
        if os.path.exists(self.file_path):
            os.remove(self.file_path)


class JsonlWriter(Writer):
    def __call__(self, values):
        with open(self.file_path, self._mode) as file:
            file.write("\n".join(json.dumps(value) for value in values) + "\n")


class CsvWriter(Writer):
    """Rows through pandas; with the header flag on, a batch's first row is emitted as its header line."""

    def __call__(self, values):
        if not values:
            return
        if self._header:
            table = pandas.DataFrame(values[1:], columns=values[0])
        else:
            table = pandas.DataFrame(values)
        table.to_csv(self.file_path, mode=self._mode, header=self._header, index=False)


READERS = {"CsvReader": CsvReader, "JsonlReader": JsonlReader}
WRITERS = {"CsvWriter": CsvWriter, "JsonlWriter": JsonlWriter}
