"""What browsers need beside the routes: pages of other sites that may call us (CORS), and a folder of files (server.static)."""
import email.utils
import http.client
import os

import pytest

APP = "http://localhost:3000"
CORS = "access-control-allow-origin"


def test_pages_of_other_sites_that_are_named(tutti):
    t = tutti(args=["--cors", APP])
    for path in ("/execution/run", "/nothing/like/this", "/v1/jobs"):
        answer = t.request("OPTIONS", path, headers={"Origin": APP, "Access-Control-Request-Method": "POST"})
        assert (answer.status, answer.body, answer.headers[CORS]) == (200, b"", APP), answer
        assert answer.headers["access-control-allow-methods"] == "OPTIONS,GET,POST,PUT,DELETE" and "Content-Type" in answer.headers["access-control-allow-headers"]
    for answer in (t.get("/system/alive"), t.post("/system/alive", headers={"Origin": APP}), t.get("/nothing"), t.get("/execution/get"), t.request("PATCH", "/health")):
        assert answer.headers[CORS] == APP and answer.headers["vary"] == "Origin", "also on refusals, also where no Origin is sent: %s" % (answer,)
    for other in ("http://localhost:3001", "null", ""):
        answer = t.post("/system/alive", headers={"Origin": other})
        assert answer.status == 403 and CORS not in answer.headers
        assert CORS not in t.get("/system/alive", headers={"Origin": other}).headers


def test_several_sites_and_none(tutti):
    t = tutti(args=["--cors", APP, "--cors", "https://app.example"])
    assert t.get("/health", headers={"Origin": "https://app.example"}).headers[CORS] == "https://app.example"
    assert CORS not in t.get("/health").headers
    t.restart(args=[])
    assert CORS not in t.get("/health", headers={"Origin": APP}).headers and t.request("OPTIONS", "/health").status == 405


@pytest.fixture
def site(tutti, tmp_path):
    dist = tmp_path / "dist"
    (dist / "js").mkdir(parents=True)
    (dist / "index.html").write_text("<h1>The app</h1>")
    (dist / "js" / "app one.js").write_text("0123456789")
    (dist / ".secret").write_text("geheim")
    (dist / "health").write_text("not this one")
    (tmp_path / "outside").write_text("geheim")
    (dist / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(dist / "pipe")
    t = tutti(args=["--static", str(dist)])
    t.dist = dist
    return t


def test_files_are_served_where_no_route_answers(site):
    start = site.get("/")
    assert start.body == b"<h1>The app</h1>" and start.headers["content-type"] == "text/html; charset=utf-8"
    script = site.get("/js/app%20one.js?v=1")
    assert script.body == b"0123456789" and script.headers["content-type"].startswith("text/javascript") and script.headers["accept-ranges"] == "bytes"
    head = site.request("HEAD", "/js/app%20one.js")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "10")
    assert site.get("/health").json["status"] == "ok", "routes come first"
    assert site.post("/js/app%20one.js").status == 404 and b"routes" in site.get("/docs").body


REFUSED = [
    ("/nothing.html", 404), ("/js", 404), ("/js/", 404), ("/.secret", 404), ("/js/../.secret", 404), ("/pipe", 404), ("/out", 403), ("/../outside", 403), ("/%2e%2e/outside", 403),
    ("/js/%2e%2e/%2e%2e/outside", 403), ("//etc/passwd", 403), ("/index.html%00.js", 404), ("/" + "a" * 5000, 404),
]


def test_what_is_not_for_others_is_refused(site):
    for path, status in REFUSED:
        link = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        link.request("GET", path)
        answer = link.getresponse()
        assert answer.status == status and b"geheim" not in answer.read(), path
        link.close()


RANGES = [
    ("bytes=2-5", 206, b"2345", "bytes 2-5/10"), ("bytes=7-", 206, b"789", "bytes 7-9/10"), ("bytes=-3", 206, b"789", "bytes 7-9/10"), ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"), ("bytes=10-", 416, b"", "bytes */10"), ("bytes=-0", 416, b"", "bytes */10"),
    ("bytes=5-2", 200, b"0123456789", None), ("bytes=0-1,3-4", 200, b"0123456789", None), ("lines=1-2", 200, b"0123456789", None), ("bytes=a-b", 200, b"0123456789", None),
    ("bytes=-", 200, b"0123456789", None), ("bytes=3-18446744073709551615", 206, b"3456789", "bytes 3-9/10"),
]


def test_ranges_and_what_is_known_already(site):
    for asked, status, body, said in RANGES:
        answer = site.get("/js/app%20one.js", headers={"Range": asked})
        assert (answer.status, answer.body, answer.headers.get("content-range")) == (status, body, said), asked
    known_already(site)


def known_already(site):
    path, when = site.dist / "index.html", 1_700_000_000
    os.utime(path, (when, when))
    date = site.get("/").headers["last-modified"]
    assert date == email.utils.formatdate(when, usegmt=True)
    for known, status in ((date, 304), (email.utils.formatdate(when + 5, usegmt=True), 304), (email.utils.formatdate(when - 1, usegmt=True), 200), ("yesterday", 200)):
        answer = site.get("/", headers={"If-Modified-Since": known})
        assert answer.status == status and bool(answer.body) == (status == 200)


def test_a_folder_that_is_not_there(tutti):
    t = tutti(args=["--static", "/nowhere/at/all"], start=False)
    with pytest.raises(AssertionError, match="server.static"):
        t.start()
