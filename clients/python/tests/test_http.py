"""Connections, retries, deadlines, errors."""

import email.utils
import os
import pickle
import socket
import threading
import time

import pytest

from conftest import eventually
from tutti import BadRequest, Busy, Client, Conflict, Denied, NotFound, ServerError, TooLarge, Unreachable
from tutti._http import Endpoint, retry_after_s
from tutti.errors import from_reply


def test_one_kept_connection_per_thread(client, proxy):
    for _ in range(5):
        client.jobs()
    assert proxy.connections == 1
    thread = threading.Thread(target=lambda: [client.jobs() for _ in range(3)])
    thread.start()
    thread.join()
    assert proxy.connections == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_has_a_connection_of_its_own(client, proxy):
    client.jobs()
    pid = os.fork()
    if pid == 0:
        try:
            client.jobs()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert proxy.connections == 2
    client.jobs()
    assert proxy.connections == 2


def test_a_connection_closed_by_the_server_is_made_anew(client, proxy):
    client.jobs()
    proxy.spoil("/v1/jobs", "refuse")
    assert client.jobs() == []


def test_a_repeat_that_would_harm_is_not_made(make_job, proxy):
    job = make_job(3)
    proxy.spoil("/retry", "lose")
    with pytest.raises(Unreachable):
        job.retry()
    assert proxy.count("/retry") == 1


def test_a_harmful_request_is_repeated_when_it_was_not_taken(make_job, proxy):
    job = make_job(3)
    proxy.spoil("/retry", 503, times=2)
    assert job.retry() == 0
    assert proxy.count("/retry") == 3


def test_starting_twice_after_a_lost_answer(make_job, proxy):
    proxy.spoil("/v1/jobs", "lose")
    assert make_job(3).status()["total"] == 3


def test_total_deadline_holds_against_a_silent_server(proxy):
    with Client(proxy.url, timeout=1.5) as hasty:
        proxy.spoil("/v1/jobs", "hang", times=10)
        began = time.monotonic()
        with pytest.raises(Unreachable, match="timed out"):
            hasty.jobs()
        assert 1.0 < time.monotonic() - began < 3.0


def test_total_deadline_holds_against_a_dripping_server():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(5)
    stop = threading.Event()
    threading.Timer(5.0, stop.set).start()

    def drip():
        while not stop.is_set():
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                try:
                    while not stop.wait(0.05):
                        peer.sendall(b" ")
                except OSError:
                    pass

    threading.Thread(target=drip, daemon=True).start()
    try:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            Client("http://127.0.0.1:%d" % listener.getsockname()[1], timeout=1.0).jobs()
        assert time.monotonic() - began < 3.0
    finally:
        stop.set()
        listener.close()


def test_longer_retry_after_than_time_left_is_told_at_once(proxy):
    with Client(proxy.url, timeout=5.0) as client:
        proxy.spoil("/v1/jobs", 503, Retry_After="60")
        began = time.monotonic()
        with pytest.raises(Busy):
            client.jobs()
        assert time.monotonic() - began < 2.0


def test_nobody_listens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        url = "http://127.0.0.1:%d" % s.getsockname()[1]
    with pytest.raises(Unreachable) as caught:
        Client(url, timeout=0.5).jobs()
    assert caught.value.exit_code == 7 and url in str(caught.value)


@pytest.mark.parametrize("status,kind", [(400, BadRequest), (401, Denied), (403, Denied), (404, NotFound),
                                         (409, Conflict), (413, TooLarge), (422, BadRequest), (500, ServerError),
                                         (503, Busy)])
def test_errors_by_status(status, kind):
    error = from_reply(status, {}, b'{"detail":"why","code":"c","hint":"h","request_id":"r"}')
    assert type(error) is kind
    assert (error.status, error.code, error.detail, error.hint, error.request_id) == (status, "c", "why", "h", "r")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind and str(again) == str(error) and again.status == status


def test_errors_in_the_older_dialects():
    fault = b'{"detail":[{"loc":["query","job_name"],"msg":"field required"}]}'
    assert from_reply(422, {}, fault).detail == "query.job_name: field required"
    assert from_reply(400, {}, b'{"detail":"No known job: x"}').detail == "No known job: x"
    assert from_reply(500, {}, b"Internal Server Error").detail == "the server answered 500: Internal Server Error"
    assert from_reply(502, {"x-request-id": "q"}, b"\xff\x00").request_id == "q"
    assert from_reply(500, {}, b'[1]').status == 500


def test_another_definition_is_a_conflict_with_the_servers_reason(make_job):
    make_job(3)
    with pytest.raises(Conflict) as caught:
        make_job(3, output=os.path.abspath("other.jsonl"))
    assert "words" in str(caught.value)


def test_missing_input_is_told(client):
    with pytest.raises(BadRequest) as caught:
        client.start_job("x", os.path.abspath("missing.jsonl"), os.path.abspath("o.jsonl"))
    assert "missing.jsonl" in caught.value.detail


@pytest.mark.parametrize("name", ["a b", "a&b=c", "50%", "ü+ñ", "x#y", "q\"'"])
def test_names_are_kept_whatever_they_hold(make_job, client, name):
    try:
        make_job(2, name=name)
    except BadRequest:
        pytest.skip("the server does not take this name")
    assert client.job(name).status()["name"] == name
    assert len(client.job(name).api.claim(2).items) == 2


@pytest.mark.fake
def test_token_travels_in_the_header_only(server, proxy):
    server.token = "sécret &1"
    with pytest.raises(Denied):
        Client(proxy.url, token="wrong", timeout=5).jobs()
    # the fake compares latin-1 text, as http.server decodes headers so
    server.token = "sécret &1".encode("utf-8").decode("latin-1")
    assert Client(proxy.url, token="sécret &1", timeout=5).jobs() == []
    assert not any("cret" in path for path in proxy.requests)


def test_token_with_line_breaks_is_refused():
    with pytest.raises(ValueError):
        Client("http://127.0.0.1:1", token="a\r\nX-Evil: 1")


@pytest.mark.parametrize("url", ["127.0.0.1:5005", "ftp://x", "http://", "unix://", "http://u:p@h", "http://h?x=1"])
def test_addresses_that_mean_nothing(url):
    with pytest.raises(ValueError):
        Client(url)


def test_addresses():
    at = Endpoint("http://[::1]:80/base/")
    assert (at.host, at.port, at.prefix) == ("::1", 80, "/base")
    assert Endpoint("unix:///run/a%20b.sock").socket_path == "/run/a b.sock"


def test_unix_socket(tmp_path):
    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1)

    def serve():
        peer, _ = listener.accept()
        with peer:
            asked = peer.recv(65536)
            body = b'{"jobs":[{"name":"%s"}]}' % asked.split()[1]
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    thread = threading.Thread(target=serve)
    thread.start()
    assert Client("unix://" + path, timeout=5).jobs() == [{"name": "/v1/jobs"}]
    thread.join()
    listener.close()


def test_early_refusal_of_a_large_body_is_heard():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    done = threading.Event()

    def refuse():
        peer, _ = listener.accept()
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"detail\":\"big\"}")
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(5)
        try:
            while peer.recv(1 << 20):
                pass
        except OSError:
            pass
        peer.close()
        done.set()

    threading.Thread(target=refuse, daemon=True).start()
    client = Client("http://127.0.0.1:%d" % listener.getsockname()[1], timeout=10)
    with pytest.raises(TooLarge, match="big"):
        client.job("x").api.results([(1, b'"' + b"x" * (4 << 20) + b'"')])
    client.close()
    assert done.wait(10)
    listener.close()


def test_retry_after_is_a_number_or_a_date():
    assert retry_after_s("1.5") == 1.5
    assert retry_after_s(None) == retry_after_s("soon") == retry_after_s("-3") == 0.0
    date = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 25 < retry_after_s(date) <= 30


def test_close_then_use_again(client, proxy):
    client.jobs()
    client.close()
    assert client.jobs() == []
    eventually(lambda: proxy.connections == 2, "a new connection")
