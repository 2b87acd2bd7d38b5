"""Fetching over HTTP for the programs that do: with patience for busy sites, and a bound on what is read."""

import http.cookiejar
import time
import urllib.error
import urllib.parse
import urllib.request

from _report import MOST_BYTES

TRIES = 4
BUSY = (408, 425, 429, 500, 502, 503, 504)


class Web:
    """One visitor, with cookies."""

    def __init__(self, timeout_s, headers={}):
        self.timeout_s, self.headers, self.cookies = timeout_s, headers, http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

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
                if attempt == TRIES - 1 or error.code not in BUSY:
                    raise RuntimeError("%s was answered with %d %s" % (url, error.code, error.reason)) from None
            except OSError as error:
                if attempt == TRIES - 1:
                    raise RuntimeError("%s cannot be reached: %s" % (url, error)) from None
            time.sleep(0.5 * 2 ** attempt)
