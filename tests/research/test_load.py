from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from research import load


class _App(BaseHTTPRequestHandler):
    """Answers as the app does, with a report and a file of the upload; every fifth call is busy."""

    asked = 0
    mixed_up = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/upload"):
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
            if not parts:
                return  # the client has hung up
            (part,) = parts
            digest = hashlib.md5(part.get_payload(decode=True)).hexdigest()
            self._send(json.dumps([f"{digest}-{part.get_filename()}"]))
            return
        type(self).asked += 1
        path = json.loads(body)["image"]["path"]
        if self.asked % 5 == 4:
            self._send('{"detail": "Queue is full."}', 503)
        else:
            self._send(json.dumps({"event_id": "0" if self.mixed_up and self.asked > 60 else path}))

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/file=" in self.path:
            self._send(f"overlay of {name}")
        elif name.endswith(("words.png", "cut.png", "small.png")):
            self._send(f'event: error\ndata: "{name} is refused"\n\n')
        else:
            data = [{"path": f"/{name}", "meta": load.FILE}, {"report of": name}]
            self._send(f"event: complete\ndata: {json.dumps(data)}\n\n")

    def _send(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    monkeypatch.setattr(load, "LARGE_SIZE", (300, 200))
    monkeypatch.setattr(load, "BUSY_WAIT", 0.01)
    handler = type("Handler", (_App,), {"mixed_up": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("app", "exit_code"), [(False, 0), (True, 1)], indirect=["app"])
def test_an_answer_to_another_image_is_found(
    app: str, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--url", app, "--clients", "4", "--requests", "10", "--images", "2"]
    assert load.main(options) == exit_code

    table, told = capsys.readouterr()
    assert "| usual |" in table and ("as another image" in told) == bool(exit_code)
