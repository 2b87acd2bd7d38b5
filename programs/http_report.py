"""Fetches a report over HTTP: logs in, downloads pages or links, unpacks, and shapes the records for the storage."""

import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta
from typing import Literal

from _report import MOST_BYTES, Report, fill, member, unpack

TRIES = 4
MOST_PAGES = 10000


class HttpReport(Report):
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
                count += self.give(self.shaped(self.parse(text)))
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
