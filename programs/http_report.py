"""Fetches a report over HTTP: logs in, downloads pages or links, unpacks, and shapes the records for the storage."""

import json
import re
import urllib.parse
from datetime import datetime, timedelta
from typing import Literal

from _report import Report, fill, member, unpack
from _web import Web

MOST_PAGES = 10000


class HttpReport(Report):
    """Fetches a report over HTTP and stores its records."""

    def __init__(self, url: str, storage: dict = None, start_date: datetime = None, end_date: datetime = None, per_day: bool = False,
                 params: dict = {}, headers: dict = {}, login: dict = None, links: str = None, page_param: str = None, next_page: str = None,
                 format: Literal["auto", "csv", "json", "jsonl"] = "auto", delimiter: str = ",", records: str = "", columns: list = [],
                 rename: dict = {}, filters: list = [], derive: dict = {}, multiply: dict = {}, maps: dict = {}, lower: list = [],
                 constants: dict = {}, keep: list = [], timeout_s: float = 60.0):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})
        self.web = Web(timeout_s, headers)

    def _run(self):
        if self.login:
            self.log_in()
        self.update("data retrieval", "started")
        count = 0
        for values in self.periods():
            for text in self.downloads(values):
                count += self.give(self.shaped(self.parse(text)))
        self.update("data retrieval", "completed")
        return count > 0

    # ---- fetching ----

    def log_in(self):
        """A form that sets cookies: {"url": ..., "form": {...}, "cookie": the name of one that must come}."""
        self.update("login", "started")
        self.web.fetch(self.login["url"], form=self.login.get("form", {}))
        wanted = self.login.get("cookie")
        if wanted and wanted not in (cookie.name for cookie in self.web.cookies):
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
            page = self.web.fetch(url, params).decode(errors="replace")
            found = [link for link in re.findall(r"""href\s*=\s*["']?([^"'\s>]+)""", page, re.I) if re.search(fill(self.links, values), link)]
            if not found:
                raise RuntimeError("no link on %s matches %s" % (url, self.links))
            for link in dict.fromkeys(found):
                yield self.web.fetch(urllib.parse.urljoin(url, link.replace("&amp;", "&")))
        else:
            yield from self.following_pages(url, params)

    def numbered_pages(self, url, params):
        """Until a page has no records."""
        for number in range(1, MOST_PAGES + 1):
            text = self.web.fetch(url, {**params, self.page_param: number})
            if not any(True for _ in self.parse(text)):
                return
            yield text

    def following_pages(self, url, params):
        """The page, and those that a member of its JSON names, one after the other."""
        for _ in range(MOST_PAGES):
            text = self.web.fetch(url, params)
            yield text
            following = member(json.loads(unpack(text)), self.next_page) if self.next_page else None
            if not following:
                return
            url, params = urllib.parse.urljoin(url, str(following)), {}
