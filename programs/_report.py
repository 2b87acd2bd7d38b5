"""What the programs that fetch reports have in common: unpacking, reading records, and shaping them for the storage."""

import csv
import gzip
import io
import json
import re
import zipfile

MOST_BYTES = 1 << 30
MOST_MEMBERS = 10000
XLSX_PART = "xl/workbook.xml"


class Report:
    """Its settings are those of the class that derives from it: format, delimiter, records, columns, and what `shape` uses."""

    encoding = sheet = None
    most_bytes = MOST_BYTES

    def give(self, rows):
        """To the storage; how many."""
        self.store(rows)
        self.count("records", len(rows))
        return len(rows)

    def shaped(self, records):
        return [row for row in map(self.shape, records) if row is not None]

    def parse(self, data, charset=None):
        """Records out of a file's bytes: packed or not, CSV, JSON, lines of JSON, or a sheet of a workbook. charset: what whoever sent it says."""
        data = unpack(data, self.most_bytes)
        if is_workbook(data):
            yield from sheet_records(data, self.sheet, self.columns, self.most_bytes)
            return
        text = decoded(data, self.encoding or charset)
        kind = self.format
        if kind == "auto":
            kind = "json" if text.lstrip()[:1] in ("[", "{") else "csv"
        if kind == "csv":
            yield from csv.DictReader(io.StringIO(text, newline=""), fieldnames=self.columns or None, delimiter=self.delimiter, restkey="_rest")
            return
        found = map(json.loads, filter(None, text.splitlines())) if kind == "jsonl" else member(json.loads(text), self.records)
        if not hasattr(found, "__iter__") or isinstance(found, (dict, str)):
            raise ValueError("no list of records at `%s`" % self.records)
        for record in found:
            yield dict(zip(self.columns, record)) if isinstance(record, list) else dict(record)

    def shape(self, row):
        """Renamed, filtered, with what is derived; None: left out."""
        row.pop("_rest", None)
        row = {self.rename.get(name, name): value for name, value in row.items()}
        if not all(fits(row.get(condition["column"]), condition) for condition in self.filters):
            return None
        for name, how in self.derive.items():
            row[name] = derived(row, how)
        for name, factor in self.multiply.items():
            row[name] = float(row[name]) * float(factor)
        for name in self.lower:
            row[name] = str(row[name]).lower()
        for name, which in self.maps.items():
            row[name] = self.convert(which, row[name])
        row.update(self.constants)
        return {name: row.get(name) for name in self.keep} if self.keep else row

    def convert(self, which, value):
        from tutti.program import conversion
        if not hasattr(self, "_maps"):
            self._maps = {}
        if which not in self._maps:
            self._maps[which] = conversion(which)
        return self._maps[which](value)


# ---- bytes ----

def unpack(data, most_bytes=MOST_BYTES):
    """Zip (the last file in it), gzip, or as it is; a bomb is refused. A workbook is a zip that stays one."""
    if data[:4] == b"PK\x03\x04" and not is_workbook(data):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry for entry in archive.infolist() if not entry.is_dir()]
            if not names or len(names) > MOST_MEMBERS:
                raise ValueError("the archive has %d files" % len(names))
            plain = archive.open(names[-1]).read(most_bytes + 1)
    elif data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data)) as source:
            plain = source.read(most_bytes + 1)
    else:
        return data
    if len(plain) > most_bytes:
        raise ValueError("the download is larger than %d bytes when it is unpacked" % most_bytes)
    return plain


def decoded(data, encoding=None):
    """As it says, else by its first bytes, else UTF-8."""
    if (encoding or "us-ascii").lower() in ("us-ascii", "utf-8", "utf8"):
        encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError("it is no %s text (byte %d): name its `encoding`" % (encoding, error.start)) from None


# ---- workbooks ----

def is_workbook(data):
    if data[:4] != b"PK\x03\x04":
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return XLSX_PART in archive.namelist()


def sheet_records(data, sheet=None, columns=(), most_bytes=MOST_BYTES):
    """Rows of a sheet (the first one, or the one of that name) as records; its first row names the columns unless they are given."""
    try:
        import openpyxl
    except ImportError:
        raise RuntimeError("it is an .xlsx workbook, and this Python has no openpyxl: install the package python3-openpyxl") from None
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > most_bytes:
            raise ValueError("the workbook is larger than %d bytes when it is unpacked" % most_bytes)
    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    if sheet and sheet not in book.sheetnames:
        raise ValueError("the workbook has no sheet `%s`: %s" % (sheet, ", ".join(book.sheetnames)))
    rows = (book[sheet] if sheet else book.worksheets[0]).iter_rows(values_only=True)
    names = list(columns) or ["" if name is None else str(name) for name in next(rows, ())]
    for row in rows:
        if any(cell is not None for cell in row):
            yield {name: value for name, value in zip(names, row) if name}


# ---- shaping ----

def fill(text, values):
    """{date} and the like; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values[m[1]]) if m[1] in values else m[0], str(text))


def member(value, path):
    for name in filter(None, (path or "").split(".")):
        value = value[int(name)] if isinstance(value, list) else value.get(name) if isinstance(value, dict) else None
    return value


def fits(value, condition):
    """{"column": c, "equals"|"not"|"matches"|"above"|"below": x}, several together."""
    checks = {
        "equals": lambda x: value == x, "not": lambda x: value != x, "matches": lambda x: re.search(x, str(value), re.I) is not None,
        "above": lambda x: float(value) > x, "below": lambda x: float(value) < x,
    }
    unknown = set(condition) - set(checks) - {"column"}
    if unknown:
        raise ValueError("a filter knows equals, not, matches, above and below, not %s" % ", ".join(sorted(unknown)))
    return all(checks[name](x) for name, x in condition.items() if name != "column")


def derived(row, how):
    """A text with {columns}, or {"column": c, "pattern": p, "to": "\\1-\\2", "otherwise": x}."""
    if isinstance(how, str):
        return fill(how, row)
    match = re.search(how["pattern"], str(row.get(how["column"], "")))
    return match.expand(how.get("to", r"\1")) if match else how.get("otherwise", "")
