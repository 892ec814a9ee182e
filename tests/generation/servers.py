"""A real server on loopback that speaks chat completions, and goes wrong on demand."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Fault = Callable[["Handler", Body], bool]
"""Answers a request in its own way and returns True, or leaves it to the server and returns False."""


class Server(ThreadingHTTPServer):
    """Answers with the user's last text, spelled backwards; notes requests and how many ran at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault: Fault = lambda *_: False
        self.pause = 0.0
        self.lock = threading.Lock()
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.running = 0
        self.most = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that give up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.times.append(time.monotonic())
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            if self.path != "/v1/chat/completions":
                self.reply(404, {"error": {"message": "no such path"}})
            elif not server.fault(self, body):
                time.sleep(server.pause)
                self.reply(200, completion(last_text(body)[::-1]))
        finally:
            with server.lock:
                server.running -= 1

    def reply(self, status: int, value: Any, **headers: str) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def cut(self) -> None:
        """Close the connection in the middle of an answer."""
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choi')
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def last_text(body: Body) -> str:
    content = body["messages"][-1]["content"]
    return "".join(part["text"] for part in content if part["type"] == "text")


def completion(text: Any, finish: Any = "stop", **rest: Any) -> Body:
    message = {"role": "assistant", "content": text}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"completion_tokens": 5},
        **rest,
    }


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
