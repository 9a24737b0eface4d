"""Prism between a client and a provider's stand-in: it holds every request and every answer
against the provider's own specification, and a router in front of it keeps the record."""

import contextlib
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import TOOLS, server

PRISM = TOOLS / "node_modules/@stoplight/prism-cli/dist/index.js"
# What concerns one connection only is never forwarded.
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@contextlib.contextmanager
def prism(specification, upstream, log):
    """Prism as a proxy that answers 422 for a request, and 500 for an answer, that the
    specification does not allow. Gives its address."""
    command = ["node", PRISM, "proxy", specification, f"http://{upstream}", "--errors"]
    where = ["--host", "127.0.0.1", "--port"]
    with server(lambda port: [*command, *where, port], log, "Prism is listening") as port:
        yield f"127.0.0.1:{port}"


class Exchange:
    """One request and its answer."""

    def __init__(self, method, path, sent, status, headers, body):
        self.method, self.path, self.sent = method, path, sent
        self.status, self.headers, self.body = status, headers, body

    def violation(self):
        """What Prism says is against the specification, if anything."""
        noted = self.headers.get("sl-violations")
        if noted or b"stoplight.io/prism/errors" in self.body:
            return f"{self.method} {self.path} → {self.status} {noted or self.body.decode()}"
        return None


class Router:
    """Forwards each call to the upstream of the longest prefix of its path."""

    def __init__(self, routes):
        self.routes = routes
        self.exchanges = []
        router = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                router.forward(self)

            do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http://{self.address}"

    def upstream_of(self, path):
        """The upstream of the longest prefix of `path`."""
        return self.routes[max((p for p in self.routes if path.startswith(p)), key=len)]

    def forward(self, handler):
        """Makes the call upstream and hands its answer back, hanging up if there is none."""
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in OF_THE_CONNECTION}
        upstream = self.upstream_of(handler.path)
        call = http.client.HTTPConnection(upstream, timeout=60)
        try:
            call.request(handler.command, handler.path, body or None, headers)
            answer = call.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            return
        finally:
            call.close()
        # A dictionary of lower-case names: nothing here repeats a header.
        given = {key.lower(): value for key, value in answer.getheaders()}
        self.exchanges.append(
            Exchange(handler.command, handler.path, body, answer.status, given, data))
        handler.send_response_only(answer.status)
        for key, value in given.items():
            if key not in OF_THE_CONNECTION:
                handler.send_header(key, value)
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def violations(self):
        """Everything that Prism objected to."""
        return [found for found in (e.violation() for e in self.exchanges) if found]

    def count(self, method, start):
        """How many calls with this method began with this path."""
        return sum(e.method == method and e.path.startswith(start) for e in self.exchanges)


@contextlib.contextmanager
def router(routes):
    """Runs a router beside the `with` block."""
    running = Router(routes)
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
        thread.join()


@contextlib.contextmanager
def liar(status, answer):
    """A server that answers every call with the same JSON, whatever it is asked."""
    body = json.dumps(answer).encode()

    class Handler(BaseHTTPRequestHandler):
        def lie(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            self.send_response_only(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = lie

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(address, method, path, body=None, headers=None):
    """One call; status and body of its answer."""
    call = http.client.HTTPConnection(address, timeout=60)
    try:
        call.request(method, path, body, headers or {})
        answer = call.getresponse()
        return answer.status, answer.read().decode()
    finally:
        call.close()
