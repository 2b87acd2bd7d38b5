"""What goes over the wire, byte for byte where the older service's clients may look: answers, validation lists, odd requests, broken ones."""
import json
import socket
import time

import pytest

from tutti_process import until
from wire import Wire, numbered, read_answer, read_jsonl, write_jsonl


@pytest.fixture
def server(common):
    return common


@pytest.fixture
def wire(server):
    write_jsonl(server.cwd / "in.jsonl", numbered(30))
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl")
    return wire


@pytest.fixture
def impatient(tutti):
    """A server that closes silent connections soon: it need not see at once that a client closed its end behind half a request."""
    server = tutti(env={"TUTTI_SERVER_IDLE_TIMEOUT": "1s"})
    write_jsonl(server.cwd / "in.jsonl", numbered(30))
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl")
    return wire


def fault(loc, msg, kind, **more):
    return {"loc": loc, "msg": msg, "type": kind, **more}


def missing(where, name):
    return fault([where, name], "field required", "value_error.missing")


BAD_BOOL = ("value could not be parsed to a boolean", "type_error.bool")
BAD_INT = ("value is not a valid integer", "type_error.integer")
NOT_NULL = ("none is not an allowed value", "type_error.none.not_allowed")


def refusal(answer, *faults):
    """Byte for byte: compact, in this order of members, UTF-8."""
    assert answer.status == 422, answer
    assert answer.headers["Content-Type"] == "application/json"
    expected = json.dumps({"detail": list(faults)}, separators=(",", ":"), ensure_ascii=False)
    assert answer.text == expected


# ---- success ----


def test_success_is_null(wire):
    for answer in (
        wire.receive("j", [[0, {}]]),
        wire.post("/mark-errors", [1], job_name="j"),
        wire.get("/clean", job_name="j"),
        wire.get("/delete", job_name="j"),
        wire.scramble("j", "in.jsonl", "out2.jsonl"),
        wire.get("/purge"),
    ):
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"null", "application/json")


def test_answers_are_compact_utf8(wire, server):
    (server.cwd / "utf8.jsonl").write_text('{"text":"Größe 名前 \U0001F3BB"}\n', encoding="utf-8")
    wire.start("utf8", "utf8.jsonl", "utf8-out.jsonl")
    answer = wire.post("/serve", job_name="utf8")
    assert answer.body == '[[0,{"text":"Größe 名前 \U0001F3BB"}]]'.encode()
    assert answer.headers["Content-Length"] == str(len(answer.body))


# ---- validation ----


def test_missing_parameters_in_order(wire):
    refusal(wire.post("/scramble"), *[missing("query", n) for n in ("job_name", "reader_name", "writer_name")], missing("body", "metadata"))
    refusal(wire.post("/receive", []), missing("query", "job_name"), missing("query", "overwrite"))
    refusal(wire.post("/receive"), missing("query", "job_name"), missing("query", "overwrite"), missing("body", "items"))
    refusal(wire.post("/serve"), missing("query", "job_name"))
    refusal(wire.post("/mark-errors"), missing("query", "job_name"), missing("body", "ids"))
    for route in ("/delete", "/clean", "/report"):
        refusal(wire.get(route), missing("query", "job_name"))


@pytest.mark.parametrize("body", [b"", b"null", b" null\n", b"\xef\xbb\xbfnull"])
def test_missing_bodies(wire, body):
    refusal(wire.receive("j", body), missing("body", "items"))
    refusal(wire.post("/mark-errors", body, job_name="j"), missing("body", "ids"))
    refusal(wire.post("/scramble", body, job_name="k", reader_name="", writer_name=""), missing("body", "metadata"))


@pytest.mark.parametrize("value", ["0", "off", "f", "false", "n", "no", "1", "on", "t", "true", "y", "yes", "True", "FALSE", "oN", "YES"])
def test_bools(wire, value):
    assert wire.receive("j", [], overwrite=value).status == 200


@pytest.mark.parametrize("value", ["", "2", "1.0", " 1", "true ", "None", "ja"])
def test_bad_bools(wire, value):
    refusal(wire.receive("j", [], overwrite=value), fault(["query", "overwrite"], *BAD_BOOL))
    refusal(wire.scramble("k", "in.jsonl", "k.jsonl", cont=value, clean_start=value, force_overwrite=value),
            *[fault(["query", n], *BAD_BOOL) for n in ("clean_start", "cont", "force_overwrite")])
    refusal(wire.get("/clean", job_name="j", output=value), fault(["query", "output"], *BAD_BOOL))
    assert wire.report("j") != {}


@pytest.mark.parametrize("value, n", [("3", 3), ("+3", 3), (" 3 ", 3), ("0_3", 3), ("1_0", 10), ("-3", 0), ("\u0663", 3), ("\uff13", 3),
                                      ("\u00a03\u2003", 3), ("9" * 60, 30), ("-" + "9" * 60, 0), ("00003", 3)])
def test_ints(wire, value, n):
    assert len(wire.serve("j", value)) == n


@pytest.mark.parametrize("value", ["", "1.0", "1e2", "_1", "1_", "1__0", "0x10", "ten", "--1", "+ 1", "None", "½", "²", "1\x002"])
def test_bad_ints(wire, value):
    refusal(wire.post("/serve", job_name="j", batch_size=value), fault(["query", "batch_size"], *BAD_INT))


@pytest.mark.parametrize("body, faults", [
    (b'{}', [fault(["body", "items"], "value is not a valid list", "type_error.list")]),
    (b'"text"', [fault(["body", "items"], "value is not a valid list", "type_error.list")]),
    (b'7', [fault(["body", "items"], "value is not a valid list", "type_error.list")]),
    (b'[1]', [fault(["body", "items", 0], "value is not a valid tuple", "type_error.tuple")]),
    (b'[[0,{}],"ab"]', [fault(["body", "items", 1], "value is not a valid tuple", "type_error.tuple")]),
    (b'[null]', [fault(["body", "items", 0], *NOT_NULL)]),
    (b'[[]]', [fault(["body", "items", 0], "wrong tuple length 0, expected 2", "value_error.tuple.length",
                     ctx={"actual_length": 0, "expected_length": 2})]),
    (b'[[1,{},2]]', [fault(["body", "items", 0], "wrong tuple length 3, expected 2", "value_error.tuple.length",
                           ctx={"actual_length": 3, "expected_length": 2})]),
    (b'[["x",{}]]', [fault(["body", "items", 0, 0], *BAD_INT)]),
    (b'[[null,{}]]', [fault(["body", "items", 0, 0], *NOT_NULL)]),
    (b'[[[],{}]]', [fault(["body", "items", 0, 0], *BAD_INT)]),
    (b'[["",{}]]', [fault(["body", "items", 0, 0], *BAD_INT)]),
    (b'[[1,null]]', [fault(["body", "items", 0, 1], *NOT_NULL)]),
    (b'[[1,5]]', [fault(["body", "items", 0, 1], "value is not a valid dict", "type_error.dict"),
                  fault(["body", "items", 0, 1], "value is not a valid list", "type_error.list")]),
    (b'[[1,true],["y",null]]', [fault(["body", "items", 0, 1], "value is not a valid dict", "type_error.dict"),
                                fault(["body", "items", 0, 1], "value is not a valid list", "type_error.list"),
                                fault(["body", "items", 1, 0], *BAD_INT), fault(["body", "items", 1, 1], *NOT_NULL)]),
])
def test_item_faults(wire, server, body, faults):
    refusal(wire.receive("j", body), *faults)
    assert wire.report("j")["received"] == 0
    assert (server.cwd / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize("body, faults", [
    (b'{}', [fault(["body", "ids"], "value is not a valid list", "type_error.list")]),
    (b'["x",1,null,[2],{},2.5,"7"]', [fault(["body", "ids", 0], *BAD_INT), fault(["body", "ids", 2], *NOT_NULL),
                                      fault(["body", "ids", 3], *BAD_INT), fault(["body", "ids", 4], *BAD_INT)]),
])
def test_id_faults(wire, body, faults):
    refusal(wire.post("/mark-errors", body, job_name="j"), *faults)
    assert wire.report("j")["errors"] == 0


@pytest.mark.parametrize("body", [b'[]', b'""', b'5', b'[["input_file_path","in.jsonl"]]'])
def test_metadata_faults(wire, body):
    refusal(wire.post("/scramble", body, job_name="k", reader_name="", writer_name=""),
            fault(["body", "metadata"], "value is not a valid dict", "type_error.dict"))
    refusal(wire.post("/scramble", body, job_name="k", reader_name="", writer_name="", cont="x"), fault(["query", "cont"], *BAD_BOOL),
            fault(["body", "metadata"], "value is not a valid dict", "type_error.dict"))


@pytest.mark.parametrize("route", ["/receive", "/mark-errors", "/scramble"])
@pytest.mark.parametrize("body", [b"[", b"[[0,{}]", b"{]", b"[0,]", b"[[0,{}]] x", b"'a'", b"\xff\xfe[\0]\0", b"\0", b"[\xc3\x28]", b"[1 2]", b"tru"])
def test_bodies_that_are_not_json(wire, route, body):
    answer = wire.post(route, body, job_name="j", overwrite="false", reader_name="", writer_name="")
    assert (answer.status, answer.body) == (400, b'{"detail":"There was an error parsing the body"}')


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json", "multipart/form-data; boundary=x", ""])
def test_the_content_type_is_not_looked_at(wire, content_type):
    answer = wire.post("/receive", b'[[0,{"a":1}]]', headers={"Content-Type": content_type}, job_name="j", overwrite="0")
    assert answer.body == b"null"
    assert wire.report("j")["received"] == 1


def test_a_byte_order_mark_is_skipped(wire, server):
    assert wire.receive("j", b'\xef\xbb\xbf[[0,{"a":1}]]').body == b"null"
    assert wire.post("/mark-errors", b'\xef\xbb\xbf[1]', job_name="j").body == b"null"
    metadata = b'\xef\xbb\xbf{"input_file_path":"in.jsonl","output_file_path":"k.jsonl"}'
    assert wire.post("/scramble", metadata, job_name="k", reader_name="JsonlReader", writer_name="JsonlWriter").body == b"null"
    assert (server.cwd / "out.jsonl").read_bytes() == b'{"a":1}\n'


def test_nan_passes_both_ways(wire, server):
    line = '{"a": NaN, "b": [Infinity, -Infinity]}'
    (server.cwd / "nan.jsonl").write_text(line + "\n")
    wire.start("nan", "nan.jsonl", "nan-out.jsonl")
    answer = wire.post("/serve", job_name="nan")
    assert answer.text == f"[[0,{line}]]"
    assert wire.receive("nan", f'[[0,{line}]]'.encode()).body == b"null"
    assert (server.cwd / "nan-out.jsonl").read_text() == line + "\n"


def test_strict_json_refuses_nan(wire, server):
    (server.cwd / "nan.jsonl").write_text('{"a": NaN}\n{"a": 1}\n{"a": "NaN"}\n')
    wire.start("nan", "nan.jsonl", "nan-out.jsonl", metadata={"json": "strict"})
    assert wire.drain("nan") == [1, 2]
    errors = wire.errors("nan")
    assert [e["id"] for e in errors] == [0] and "line 1" in errors[0]["reason"]


def test_lone_surrogates_pass(wire, server):
    line = r'{"a":"\ud800","b":"\udc00\ud800"}'
    (server.cwd / "s.jsonl").write_text(line + "\n")
    wire.start("s", "s.jsonl", "s-out.jsonl")
    assert wire.post("/serve", job_name="s").text == f"[[0,{line}]]"
    assert wire.receive("s", f"[[0,{line}]]".encode()).body == b"null"
    assert (server.cwd / "s-out.jsonl").read_text() == line + "\n"


# ---- query strings ----


def test_repeated_parameters_the_last_wins(wire):
    assert len(wire.post("/serve?job_name=x&batch_size=9&job_name=j&batch_size=2").json()) == 2


def test_unknown_parameters_are_named_in_a_warning(wire):
    answer = wire.post("/serve", job_name="j", batch_size=1, colour="red", size=4)
    assert answer.status == 200
    assert "colour" in answer.headers["Warning"] and "size" in answer.headers["Warning"]
    assert wire.post("/serve", job_name="j", batch_size=1, token="x").headers["Warning"] is None


def test_a_warning_cannot_split_the_head(wire):
    answer = wire.post('/serve?job_name=j&batch_size=1&a%0d%0aX-Evil:%201"=1')
    assert answer.status == 200 and answer.headers["X-Evil"] is None


def test_query_decoding(wire, server):
    wire.start("a b", "in.jsonl", "ab.jsonl")
    assert wire.get("/report?job_name=a+b").json()["status"] == "IN_PROGRESS"
    assert wire.get("/report?job_name=a%20b").json()["status"] == "IN_PROGRESS"
    assert wire.get("/report?job%5Fname=a%2520b").json() == {}
    assert wire.get("/report?job_name=%zz").json() == {}
    assert wire.get("/report?job_name=%ff%fe").json() == {}
    assert wire.get("/report?job_name=").json() == {}
    assert wire.get("/report?&&job_name=a+b&").json() != {}
    assert wire.get("/report?job_name").status in (200, 422)


# ---- methods and paths ----


@pytest.mark.parametrize("path", ["/", "/nothing", "/Serve", "/serve/x", "//serve", "/v2/jobs", "/../etc/passwd", "/%2e%2e/etc/passwd", "/serve%00"])
def test_unknown_paths(wire, path):
    answer = wire.post(path)
    assert answer.status in (404, 405), answer
    assert "detail" in answer.json()


def test_unknown_paths_in_the_older_shape(wire):
    answer = wire.get("/serv")
    assert answer.status == 404 and answer.json()["detail"]
    answer = wire.get("/v1/serv")
    assert answer.status == 404 and answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("method, path", [("GET", "/serve"), ("GET", "/scramble"), ("GET", "/receive"), ("GET", "/mark-errors"), ("POST", "/delete"),
                                          ("POST", "/clean"), ("POST", "/purge"), ("POST", "/report"), ("HEAD", "/report"), ("HEAD", "/delete"),
                                          ("DELETE", "/report"), ("PUT", "/serve"), ("OPTIONS", "/serve"), ("PATCH", "/serve"), ("BREW", "/serve")])
def test_wrong_methods(wire, method, path):
    answer = wire.call(method, path + "?job_name=j")
    assert answer.status == 405
    if method != "HEAD":
        assert answer.body == b'{"detail":"Method Not Allowed"}'
    assert wire.report("j") != {}


@pytest.mark.parametrize("method, path", [("POST", "/serve"), ("GET", "/report"), ("GET", "/health")])
def test_a_slash_at_the_end(wire, method, path):
    answer = wire.call(method, path + "/?job_name=j&x=a%20b")
    assert answer.status == 307
    assert answer.headers["Location"] == f"http://{wire.host}:{wire.port}{path}?job_name=j&x=a%20b"


def test_a_location_does_not_follow_a_strange_host(wire):
    answer = wire.call("GET", "/report/?job_name=j", headers={"Host": "evil.example"})
    assert answer.status == 403


# ---- connections ----


def test_keep_alive(wire):
    with wire.socket() as sock:
        for n in range(20):
            sock.sendall(b"POST /serve?job_name=j&batch_size=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            assert read_answer(sock).json()[0][0] == n


def test_pipelined_requests(wire):
    one = b"POST /serve?job_name=j&batch_size=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    with wire.socket() as sock:
        sock.sendall(one * 5)
        data = b""
        while data.count(b"HTTP/1.1 200") < 5 or not data.endswith(b"]]"):
            data += sock.recv(65536)
    for n in range(5):
        assert b'[[%d,' % n in data


def test_many_open_sockets(wire):
    socks = [wire.socket() for _ in range(1000)]
    try:
        assert len(wire.serve("j", 5)) == 5
        for sock in socks[::50]:
            sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_answer(sock).status == 200
    finally:
        for sock in socks:
            sock.close()


def test_a_chunked_body(wire, server):
    head = b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'[[0,{"a":"' + b"x" * 3_000_000 + b'"}]]'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:5], body[5:1_000_000], body[1_000_000:])) + b"0\r\n\r\n"
    assert wire.raw(head + chunks).body == b"null"
    assert (server.cwd / "out.jsonl").stat().st_size == len(body) - 6 + 1


def test_expect_100_continue(wire):
    with wire.socket() as sock:
        sock.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(b"[[0,{}]]")
        assert read_answer(sock).body == b"null"


def test_http_1_0(wire):
    answer = wire.raw(b"GET /report?job_name=j HTTP/1.0\r\n\r\n")
    assert answer.status == 200 and answer.json()["status"] == "IN_PROGRESS"


def alive(wire):
    assert wire.get("/livez").status == 200
    assert len(wire.serve("j", 1)) == 1


@pytest.mark.parametrize("length", [b"-1", b"abc", b"5, 6", b"99999999999999999999999999", b"0x10", b"+5", b"1e3"])
def test_content_lengths_that_are_none(wire, length):
    answer = wire.raw(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\nConnection: close\r\n\r\n[[0,{}]]" % length)
    assert answer is None or 400 <= answer.status < 500, answer
    assert wire.report("j")["received"] == 0
    alive(wire)


def test_a_length_and_chunks_together(wire):
    answer = wire.raw(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                      b"8\r\n[[0,{}]]\r\n0\r\n\r\n")
    assert answer is None or answer.status in (200, 400)
    alive(wire)


def test_a_body_shorter_than_its_length_changes_nothing(impatient):
    wire = impatient
    for body in (b"", b"[[0,", b"[[0,{}]]"):
        with wire.socket() as sock:
            sock.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n" + body)
            sock.shutdown(socket.SHUT_WR)
            assert not sock.recv(1000).startswith(b"HTTP/1.1 2")
    assert wire.report("j")["received"] == 0
    alive(wire)


def test_a_body_longer_than_its_length(wire):
    answer = wire.raw(b'POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n[[0,{}]]garbage that is no request\r\n\r\n')
    assert answer.body == b"null"
    assert wire.report("j")["received"] == 1
    alive(wire)


@pytest.mark.parametrize("data", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 5000,
                                  b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                                  b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
                                  b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
                                  b"GET /livez HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
def test_requests_that_are_none(impatient, data):
    wire = impatient
    with wire.socket() as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(1000)
        except OSError:
            answer = b""
    assert answer == b"" or answer[9:10] in (b"4", b"5"), answer
    alive(wire)


def test_slow_clients_hold_nobody_up(wire):
    socks = []
    for _ in range(50):
        sock = wire.socket()
        sock.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n[")
        socks.append(sock)
    begin = time.monotonic()
    alive(wire)
    assert time.monotonic() - begin < 5
    for sock in socks:
        sock.close()


def test_a_stop_does_not_wait_for_bodies_that_do_not_come(wire, server):
    with wire.socket() as sock, wire.socket() as other:
        sock.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n[")
        other.sendall(b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost:")
        wire.report("j")
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10


def test_silent_connections_are_closed(tutti):
    server = tutti(env={"TUTTI_SERVER_IDLE_TIMEOUT": "1s"})
    wire = Wire(server.url)
    half = [b"", b"GET /li", b"POST /serve?job_name=j HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n123"]
    socks = []
    for data in half:
        sock = wire.socket()
        sock.sendall(data)
        socks.append(sock)
    for sock in socks:
        data = sock.recv(1000)
        assert data == b"" or b" 408 " in data, data
        sock.close()


# ---- sizes ----


def test_bodies_over_the_limit(tutti):
    server = tutti(env={"PLANCHET_MAX_PACKAGE_SIZE": "1"})
    write_jsonl(server.cwd / "in.jsonl", numbered(30))
    wire = Wire(server.url)
    wire.start("j", "in.jsonl", "out.jsonl")
    body = b'[[0,{"a":"%s"}]]' % (b"x" * 1_000_000)
    expected = f'{{"detail":"In-memory payload must be less than 1000000; the current size is {len(body)}."}}'
    answer = wire.receive("j", body)
    assert (answer.status, answer.text) == (413, expected)
    head = b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    answer = wire.raw(head)
    assert answer.status == 413 and "99999999999" in answer.text, "refused before anything of the body has come"
    chunked = b"POST /receive?job_name=j&overwrite=0 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    assert wire.raw(chunked % (len(body), body)).status == 413
    answer = wire.post("/v1/jobs/j/results", body)
    assert answer.status == 413 and answer.json()["code"] == "too_large"
    assert wire.report("j")["received"] == 0
    wire.give("j", [[0, {"a": "x" * 900_000}]])


def test_a_body_on_disk(wire, server):
    """Beyond 1 MiB a body is spooled; nothing of it stays behind."""
    items = [[i, {"n": i, "pad": "x" * 300_000}] for i in range(30)]
    wire.give("j", items)
    assert read_jsonl(server.cwd / "out.jsonl") == [value for _, value in items]
    until(lambda: not list((server.data / "cache").iterdir()), "an empty spool")


def test_a_hundred_thousand_faults(wire):
    answer = wire.receive("j", b"[" + b",".join([b'["x",5]'] * 100_000) + b"]")
    assert answer.status == 422 and len(answer.body) < 1_000_000
