"""The programs that come with tutti, against a site of the test's own."""
import gzip
import http.server
import io
import json
import threading
import urllib.parse
import zipfile

import pytest
from sql_servers import Sqlite
from test_programs import Programs

CSV = "Type Tag,Gross Rev,Country,Days\n12345678_01,2.5,UK,1/2/2026\nORGANIC,9,US,1/2/2026\n87654321_01,4,DE,1/2/2026\n"


class Site(http.server.BaseHTTPRequestHandler):
    failures = 0

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, headers={}):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        good = form == {"user": ["ada"], "password": ["geheim-5"]}
        self.answer(b"", 200, {"Set-Cookie": "session=yes"} if good else {})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/flaky" and Site.failures < 2:
            Site.failures += 1
            return self.answer(b"busy", 503)
        if url.path in ("/csv", "/flaky"):
            return self.answer(CSV.encode())
        if url.path == "/private":
            return self.answer(CSV.encode()) if "session=yes" in (self.headers["Cookie"] or "") else self.answer(b"no", 403)
        if url.path == "/links":
            return self.answer(b'<a href="/zip?d=2026-01-02">a</a> <a href=/gz?d=2026-01-02>b</a> <a href="/other">c</a>')
        if url.path == "/zip":
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                archive.writestr("readme.txt", "x")
                archive.writestr("report.csv", CSV)
            return self.answer(out.getvalue())
        if url.path == "/gz":
            return self.answer(gzip.compress(CSV.encode()))
        if url.path == "/pages":
            page = int(query["page"])
            return self.answer(json.dumps({"data": {"rows": [[page, query["day"]]] if page < 4 else []}}).encode())
        if url.path == "/next":
            n = int(query.get("n", "1"))
            return self.answer(json.dumps({"items": [{"n": n}], "next": "/next?n=%d" % (n + 1) if n < 3 else None}).encode())
        if url.path == "/rates":
            return self.answer(json.dumps({"base": query["base"], "rates": {"EUR": 0 if "bad" in query else 0.5, "GBP": "0.75"}}).encode())
        if url.path == "/convert":
            return self.answer(json.dumps({query["q"]: 4} if query["q"] == "USD_ILS" else {}).encode())
        return self.answer(b"nothing", 404)


@pytest.fixture(scope="module")
def site():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://127.0.0.1:%d" % server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def report(tmp_path):
    programs = Programs(tmp_path)

    def run(**settings):
        result = programs.here("http_report", *("%s=%s" % (k, v if isinstance(v, str) else json.dumps(v)) for k, v in settings.items()))
        return result, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return run


def test_csv_is_shaped(report, site):
    result, rows = report(url=site + "/csv", rename={"Type Tag": "channel", "Gross Rev": "gross", "Country": "country"},
                          filters=[{"column": "channel", "not": "ORGANIC"}, {"column": "gross", "above": 1}], lower=["country"], multiply={"gross": 0.5},
                          derive={"channel": {"column": "channel", "pattern": r"^(\d{4})(\d{4})_\d\d$", "to": r"\1-\2"}, "both": "{country}/{Days}"},
                          constants={"network": "n"}, keep=["channel", "gross", "country", "both", "network"])
    assert result.returncode == 0, result
    assert rows == [{"channel": "1234-5678", "gross": 1.25, "country": "uk", "both": "UK/1/2/2026", "network": "n"},
                    {"channel": "8765-4321", "gross": 2.0, "country": "de", "both": "DE/1/2/2026", "network": "n"}]


def test_login_links_and_archives(report, site):
    login = {"url": site + "/login", "form": {"user": "ada", "password": "geheim-5"}, "cookie": "session"}
    result, rows = report(url=site + "/private", login=login)
    assert len(rows) == 3 and "login: completed" in result.stderr, result
    result, rows = report(url=site + "/private", login={**login, "form": {"user": "eve"}})
    assert result.returncode == 1 and "cookie not returned" in result.stderr
    result, rows = report(url=site + "/links", links="(zip|gz).d={date}", start_date="2026-01-02")
    assert len(rows) == 6 and rows[:3] == rows[3:], result
    result, rows = report(url=site + "/links", links="{date}", start_date="2026-01-03")
    assert result.returncode == 1 and "no link" in result.stderr


def test_pages_and_days(report, site):
    result, rows = report(url=site + "/pages", params={"day": "{date}"}, page_param="page", records="data.rows", columns=["page", "day"], per_day=True,
                          start_date="2026-01-30", end_date="2026-02-01")
    assert rows == [{"page": p, "day": d} for d in ("2026-01-30", "2026-01-31", "2026-02-01") for p in (1, 2, 3)], result
    result, rows = report(url=site + "/next", records="items", next_page="next")
    assert rows == [{"n": 1}, {"n": 2}, {"n": 3}], result


def test_busy_sites_are_asked_again_and_others_are_not(report, site):
    result, rows = report(url=site + "/flaky")
    assert result.returncode == 0 and len(rows) == 3
    result, rows = report(url=site + "/missing")
    assert result.returncode == 1 and "404" in result.stderr
    result, rows = report(url="file:///etc/passwd")
    assert result.returncode == 1 and "no address of the web" in result.stderr


# ---- conversion maps ----


def maps_of(tmp_path, name):
    return json.loads((tmp_path / "data" / "maps" / (name + ".json")).read_text())


def test_the_map_of_currencies(tmp_path, site):
    programs = Programs(tmp_path)
    result = programs.here("currency_map_update", "url=%s/rates" % site, "other_url=%s/convert" % site, 'currencies=["EUR","ils","USD"]')
    assert result.returncode == 0 and "store: completed" in result.stderr, result
    assert maps_of(tmp_path, "currency") == {"eur": 0.5 * 0.95, "gbp": 0.75 * 0.95, "ils": 4.0 * 0.95, "usd": 1.0}
    programs.add("uses.py", "from platforms.base_platform import BasePlatform\nclass Uses(BasePlatform):\n    def _run(self):\n"
                 "        return 10 / self.get_conversion_map('currency')('Gbp')\n", 0o644)
    assert json.loads(programs.tutti("run", "uses", "--here", "--json").stdout)["result"] == 10 / (0.75 * 0.95)


@pytest.mark.parametrize("sets, said", [
    (["url={site}/rates", 'currencies=["QQQ"]', "other_url={site}/convert"], "/convert knows no rate of QQQ"), (["url={site}/rates", 'currencies=["QQQ"]'], "there is no `other_url`"),
    (["url={site}/csv"], "gives no JSON"), (["url={site}/next"], "gives no rates at `rates`"), (["url={site}/missing"], "404"), (["url={site}/rates?bad=1"], "the rate of EUR is 0"),
])
def test_a_map_that_cannot_be_made_leaves_the_old_one(tmp_path, site, sets, said):
    programs = Programs(tmp_path)
    (tmp_path / "data" / "maps").mkdir(parents=True)
    (tmp_path / "data" / "maps" / "currency.json").write_text('{"usd":1.0}')
    result = programs.here("currency_map_update", *(one.replace("{site}", site) for one in sets))
    assert result.returncode == 1 and said in result.stderr, result
    assert maps_of(tmp_path, "currency") == {"usd": 1.0}


def test_the_map_of_countries_from_the_list_of_iso(tmp_path):
    programs = Programs(tmp_path)
    (tmp_path / "iso.json").write_text(json.dumps({"3166-1": [
        {"alpha_2": "AX", "name": "Åland Islands"}, {"alpha_2": "TR", "name": "Türkiye", "official_name": "Republic of TÜRKİYE", "common_name": "Turkey"}, {"name": "x"}, 5]}))
    result = programs.here("country_map_update", "file=%s" % (tmp_path / "iso.json"))
    assert result.returncode == 0, result
    found = maps_of(tmp_path, "country")
    assert {name: found[name] for name in ("åland islands", "türkiye", "turkey")} == {"åland islands": "ax", "türkiye": "tr", "turkey": "tr"} and len(found) == 4
    for content in ("[]", "nonsense", '{"3166-1": []}'):
        (tmp_path / "iso.json").write_text(content)
        assert programs.here("country_map_update", "file=%s" % (tmp_path / "iso.json")).returncode == 1
    assert maps_of(tmp_path, "country") == found


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "mariadb"])
def test_the_map_of_countries_from_a_table(tmp_path, request, kind):
    programs = Programs(tmp_path)
    if kind == "sqlite":
        db, settings = Sqlite(tmp_path / "shop.db"), {"path": str(tmp_path / "shop.db")}
    else:
        db = request.getfixturevalue(kind)
        settings = {"hostname": "127.0.0.1", "port": db.port, "db": db.url.rpartition("/")[2], "username": "tutti", "password": db.password}
    db.ask("DROP TABLE IF EXISTS countries")
    db.ask("CREATE TABLE countries (country_name VARCHAR(50), country_code VARCHAR(2))")
    db.ask("INSERT INTO countries VALUES ('Germany', 'DE'), (' Côte d''Ivoire', 'CI'), (NULL, 'XX')")
    storage = {"type": db.kind, "settings": {**settings, "table": "countries"}}
    result = programs.tutti("run", "country_map_update", "--here", "--set", "database=%s" % json.dumps(storage), cwd=tmp_path)
    assert result.returncode == 0 and "pull: completed" in result.stderr, result
    assert maps_of(tmp_path, "country") == {"germany": "de", "côte d'ivoire": "ci"}
    result = programs.tutti("run", "country_map_update", "--here", "--set", "database=%s" % json.dumps(storage), "--set", "name_column=nope", cwd=tmp_path)
    assert result.returncode == 1 and "nope" in result.stderr, result
