"""Fetches a report over HTTP: logs in, downloads pages or links, unpacks, and shapes the records for the storage."""

import csv
import gzip
import http.cookiejar
import io
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from datetime import datetime, timedelta
from typing import Literal

TRIES = 4
MOST_PAGES = 10000
MOST_BYTES = 1 << 30


class HttpReport:
    """Fetches a report over HTTP and stores its records."""

    def __init__(self, url: str, storage: dict = None, start_date: datetime = None, end_date: datetime = None, per_day: bool = False,
                 params: dict = {}, headers: dict = {}, login: dict = None, links: str = None, page_param: str = None, next_page: str = None,
                 format: Literal["auto", "csv", "json", "jsonl"] = "auto", delimiter: str = ",", records: str = "", columns: list = [],
                 rename: dict = {}, filters: list = [], derive: dict = {}, multiply: dict = {}, maps: dict = {}, lower: list = [],
                 constants: dict = {}, keep: list = [], timeout_s: float = 60.0):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.cookies, self.opener = cookies.cookiejar, urllib.request.build_opener(cookies)

    def _run(self):
        if self.login:
            self.log_in()
        self.update("data retrieval", "started")
        count = 0
        for values in self.periods():
            for text in self.downloads(values):
                rows = [row for row in map(self.shape, self.parse(text)) if row is not None]
                self.store(rows)
                count += len(rows)
                self.count("records", len(rows))
        self.update("data retrieval", "completed")
        return count > 0

    # ---- fetching ----

    def fetch(self, url, params={}, form=None):
        """The bytes of an answer. Busy and broken servers are asked again, others' mistakes are not."""
        if params:
            url += ("&" if "?" in url else "?") + urllib.parse.urlencode(params)
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("%s is no address of the web" % url)
        request = urllib.request.Request(url, data=urllib.parse.urlencode(form).encode() if form is not None else None, headers=dict(self.headers))
        for attempt in range(TRIES):
            try:
                with self.opener.open(request, timeout=self.timeout_s) as answer:
                    body = answer.read(MOST_BYTES + 1)
                if len(body) > MOST_BYTES:
                    raise ValueError("%s is larger than %d bytes" % (url, MOST_BYTES))
                return body
            except urllib.error.HTTPError as error:
                if attempt == TRIES - 1 or error.code not in (408, 425, 429, 500, 502, 503, 504):
                    raise RuntimeError("%s was answered with %d %s" % (url, error.code, error.reason)) from None
            except OSError as error:
                if attempt == TRIES - 1:
                    raise RuntimeError("%s cannot be reached: %s" % (url, error)) from None
            time.sleep(0.5 * 2 ** attempt)

    def log_in(self):
        """A form that sets cookies: {"url": ..., "form": {...}, "cookie": the name of one that must come}."""
        self.update("login", "started")
        self.fetch(self.login["url"], form=self.login.get("form", {}))
        wanted = self.login.get("cookie")
        if wanted and wanted not in (cookie.name for cookie in self.cookies):
            self.update("login", "failed")
            raise RuntimeError("cookie not returned")
        self.update("login", "completed")

    def periods(self):
        """What stands for {start_date}, {end_date} and {date} in addresses and parameters."""
        start = self.start_date or datetime.now()
        end = self.end_date or start
        if not self.per_day:
            yield {"start_date": start.date(), "end_date": end.date(), "date": start.date()}
            return
        for n in range((end.date() - start.date()).days + 1):
            day = start.date() + timedelta(n)
            yield {"start_date": day, "end_date": day, "date": day}

    def downloads(self, values):
        url = fill(self.url, values)
        params = {name: fill(value, values) for name, value in self.params.items()}
        if self.page_param:
            yield from self.numbered_pages(url, params)
        elif self.links:
            page = self.fetch(url, params).decode(errors="replace")
            found = [link for link in re.findall(r"""href\s*=\s*["']?([^"'\s>]+)""", page, re.I) if re.search(fill(self.links, values), link)]
            if not found:
                raise RuntimeError("no link on %s matches %s" % (url, self.links))
            for link in dict.fromkeys(found):
                yield self.fetch(urllib.parse.urljoin(url, link.replace("&amp;", "&")))
        else:
            yield from self.following_pages(url, params)

    def numbered_pages(self, url, params):
        """Until a page has no records."""
        for number in range(1, MOST_PAGES + 1):
            text = self.fetch(url, {**params, self.page_param: number})
            if not any(True for _ in self.parse(text)):
                return
            yield text

    def following_pages(self, url, params):
        """The page, and those that a member of its JSON names, one after the other."""
        for _ in range(MOST_PAGES):
            text = self.fetch(url, params)
            yield text
            following = member(json.loads(unpack(text)), self.next_page) if self.next_page else None
            if not following:
                return
            url, params = urllib.parse.urljoin(url, str(following)), {}

    # ---- records ----

    def parse(self, data):
        text = unpack(data).decode("utf-8-sig")
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


def fill(text, values):
    """{date} and the like; other braces stay."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values[m[1]]) if m[1] in values else m[0], str(text))


def unpack(data):
    """Zip (the last member), gzip, or as it is; a bomb is refused."""
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            source = archive.open(archive.infolist()[-1])
            plain = source.read(MOST_BYTES + 1)
    elif data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data)) as source:
            plain = source.read(MOST_BYTES + 1)
    else:
        return data
    if len(plain) > MOST_BYTES:
        raise ValueError("the download is larger than %d bytes when it is unpacked" % MOST_BYTES)
    return plain


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
