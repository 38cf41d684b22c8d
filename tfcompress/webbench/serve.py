"""Serves one page on this machine, and passes on the results that browsers send back."""

from __future__ import annotations

import http.server
import json
from collections.abc import Callable
from typing import Any

# A browser's report is never larger.
_MAX_BYTES = 2**20
# With these the browser's clock ticks in 5 us instead of 100.
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}


def make_server(
    page: str, host: str, port: int, on_result: Callable[[dict[str, Any]], None]
) -> http.server.ThreadingHTTPServer:
    """Makes a server of one page, which the caller runs and closes.

    Args:
        page: the HTML.
        host: the address to listen on; `127.0.0.1` is for this machine alone.
        port: the port; 0 takes a free one.
        on_result: called with what a browser measured.
    """
    content = page.encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.split("?")[0] not in ("/", "/index.html"):
                self._answer(404, b"", "text/plain")
                return
            self._answer(200, content, "text/html; charset=utf-8")

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            if self.path != "/result" or not size.isdecimal() or int(size) > _MAX_BYTES:
                self._answer(400, b"", "text/plain")
                return
            try:
                report = json.loads(self.rfile.read(int(size)))
            except ValueError:
                report = None
            if not isinstance(report, dict):
                self._answer(400, b"", "text/plain")
                return
            on_result(report)  # Before the answer, which says that the result is here.
            self._answer(204, b"", "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": kind}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Leaves the terminal to the results."""

    return http.server.ThreadingHTTPServer((host, port), Handler)
