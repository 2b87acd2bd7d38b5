"""A proxy that spoils chosen requests on their way, in front of the fake or the real server."""

import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy:
    """`spoil(part, how)` queues a fault for the next request whose path holds ``part``:

    ``refuse``  hang up without passing it on
    ``lose``    pass it on and hang up instead of answering
    ``cut``     pass it on and hang up in the middle of the answer
    ``hang``    pass it on and answer nothing until `release` is set
    a number    answer with that status, with the headers given
    """

    def __init__(self, upstream):
        self.upstream = urlsplit(upstream)
        self.faults = []
        self.requests = []
        self.connections = 0
        self.release = threading.Event()
        self.lock = threading.Lock()
        handler = type("ProxyHandler", (ProxyHandler,), {"proxy": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.release.set()
        self.http.shutdown()
        self.http.server_close()

    def spoil(self, part, how, times=1, **headers):
        with self.lock:
            self.faults += [(part, how, headers)] * times

    def fault_for(self, path):
        with self.lock:
            for fault in self.faults:
                if fault[0] in path:
                    self.faults.remove(fault)
                    return fault[1:]
        return None, {}

    def count(self, part):
        with self.lock:
            return sum(part in path for path in self.requests)


class ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy = None

    def setup(self):
        super().setup()
        with self.proxy.lock:
            self.proxy.connections += 1

    def log_message(self, *args):
        pass

    def handle_any(self):
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with proxy.lock:
            proxy.requests.append(self.path)
        how, headers = proxy.fault_for(self.path)
        if how == "refuse":
            return self.hang_up()
        if isinstance(how, int):
            return self.answer(how, b'{"detail":"spoilt","code":"spoilt"}', headers)
        status, data = self.forward(body)
        if how == "hang":
            proxy.release.wait()
        if how in ("lose", "hang"):
            return self.hang_up()
        self.answer(status, data, {}, cut=how == "cut")

    def forward(self, body):
        upstream = http.client.HTTPConnection(self.proxy.upstream.hostname, self.proxy.upstream.port, timeout=60)
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "content-length")}
        upstream.request(self.command, self.path, body, kept)
        response = upstream.getresponse()
        data = response.read()
        upstream.close()
        return response.status, data

    def answer(self, status, data, headers, cut=False):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data[:len(data) // 2] if cut else data)
        if cut:
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    do_GET = do_POST = do_DELETE = handle_any
