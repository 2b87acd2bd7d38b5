"""Requests to a server, one connection each, with nothing added and nothing hidden: what the tests of the wire format speak.

A body that is bytes goes out as it is, anything else as compact JSON. `Wire(url).raw(...)` sends bytes of the test's own making."""
import http.client
import io
import json
import socket
from urllib.parse import urlencode, urlsplit

TIMEOUT_S = 30


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    @property
    def detail(self):
        return self.json()["detail"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def encode(body):
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


class Wire:
    def __init__(self, url, token=None):
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method, path, body=None, headers=None, timeout=TIMEOUT_S, **params):
        if params:
            path += ("&" if "?" in path else "?") + urlencode({k: v for k, v in params.items() if v is not None})
        conn = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            conn.request(method, path, encode(body), {**self.headers, **(headers or {})})
            answer = conn.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            conn.close()

    def get(self, path, **params):
        return self.call("GET", path, **params)

    def post(self, path, body=None, **params):
        return self.call("POST", path, body, **params)

    def delete(self, path, **params):
        return self.call("DELETE", path, **params)

    def socket(self, timeout=TIMEOUT_S):
        return socket.create_connection((self.host, self.port), timeout)

    def raw(self, data, timeout=TIMEOUT_S):
        """The first answer to these bytes; None when the server closes without one."""
        with self.socket(timeout) as sock:
            sock.sendall(data)
            return read_answer(sock)

    # The older service's verbs.

    def scramble(self, name, source=None, output=None, reader="JsonlReader", writer="JsonlWriter", metadata=None, **params):
        metadata = dict(metadata or {})
        if source is not None:
            metadata["input_file_path"] = source
        if output is not None:
            metadata["output_file_path"] = output
        return self.post("/scramble", metadata, job_name=name, reader_name=reader, writer_name=writer, **params)

    def start(self, name, *args, **params):
        answer = self.scramble(name, *args, **params)
        assert (answer.status, answer.body) == (200, b"null"), answer

    def serve(self, name, n=100, **params):
        answer = self.post("/serve", job_name=name, batch_size=n, **params)
        assert answer.status == 200, answer
        return answer.json()

    def receive(self, name, items, **params):
        params.setdefault("overwrite", "False")
        return self.post("/receive", items, job_name=name, **params)

    def give(self, name, items, **params):
        answer = self.receive(name, items, **params)
        assert (answer.status, answer.body) == (200, b"null"), answer

    def report(self, name):
        answer = self.get("/report", job_name=name)
        assert answer.status == 200, answer
        return answer.json()

    def drain(self, name, n=100, work=lambda value: value):
        """Serve and send back until nothing comes; the ids in the order of serving."""
        ids = []
        while items := self.serve(name, n):
            ids += [i for i, _ in items]
            self.give(name, [[i, work(value)] for i, value in items])
        return ids

    # Ours.

    def create(self, name, source=None, output=None, **members):
        body = {"name": name, "input": source, "output": output, **members}
        answer = self.post("/v1/jobs", {k: v for k, v in body.items() if v is not None})
        assert answer.status == 201, answer
        return answer.json()

    def claim(self, name, n=100, **params):
        answer = self.post(f"/v1/jobs/{name}/claim", n=n, **params)
        assert answer.status == 200, answer
        return answer.json()

    def results(self, name, items, **params):
        answer = self.post(f"/v1/jobs/{name}/results", items, **params)
        assert answer.status == 200, answer
        return answer.json()

    def job(self, name):
        answer = self.get(f"/v1/jobs/{name}")
        assert answer.status == 200, answer
        return answer.json()

    def errors(self, name):
        return self.get(f"/v1/jobs/{name}/errors").json()["errors"]


def read_answer(sock):
    reader = sock.makefile("rb")
    if not reader.peek(1):
        return None
    answer = http.client.HTTPResponse(_Replay(reader))
    answer.begin()
    return Answer(answer.status, answer.headers, answer.read())


class _Replay:
    def __init__(self, reader):
        self.reader = reader

    def makefile(self, mode):
        return self.reader


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with io.open(path, "w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def read_jsonl(path):
    with io.open(path, encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def numbered(count):
    return [{"n": i, "text": f"record {i}"} for i in range(count)]
