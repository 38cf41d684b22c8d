"""Serves one page at an address that holds a secret, and passes on the results of browsers.

Other pages that are open in a browser can send requests to this machine, and by DNS names of their
own even read the answers; and who listens to a network may be found by anybody in it. So a request
must know the secret, name this machine and no other, and come from our page.
"""

from __future__ import annotations

import contextlib
import http.server
import ipaddress
import re
import secrets
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from tfcompress.bounded_json import parse_json

# A browser's report is never larger.
_MAX_BYTES = 2**20
# Browsers open two or three; each takes a thread.
_MOST_CONNECTIONS = 16
# Results that are printed until the program ends.
_MOST_RESULTS = 1000
# Seconds that a browser may take to send its request, and then to fetch the page.
_REQUEST_S = 20.0
_ANSWER_S = 600.0
# Bytes of a refused request that are still taken, and seconds.
_UNREAD_BYTES = 16 * _MAX_BYTES
_UNREAD_S = 5.0
# All that the page fetches is in it. Its modules have addresses that begin with `data:` and its
# loader one with `blob:`; WebAssembly is compiled.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' data: blob:; "
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    # With these two the browser's clock ticks in 5 us instead of 100.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]/@\s]+)(:[0-9]{1,5})?", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,9}")


class PageServer(http.server.ThreadingHTTPServer):
    """Serves one page, which the caller runs and closes.

    Args:
        page: the HTML.
        host: the address to listen on; `127.0.0.1` is for this machine alone, `0.0.0.0` and `::`
            are for all networks.
        port: the port; 0 takes a free one.
        on_result: called with what a browser measured.
        request_s: seconds until a request must have come whole.

    Attributes:
        path: where the page is; nothing else is served.

    Raises:
        OSError: the address or the port can't be used.
    """

    # Those that the system holds until they are looked at. Of more than that some would wait for
    # ever: to be closed by us, a connection must have come to us.
    request_queue_size = 128

    def __init__(
        self,
        page: str,
        host: str,
        port: int,
        on_result: Callable[[dict[str, Any]], None],
        *,
        request_s: float = _REQUEST_S,
    ) -> None:
        self.path = f"/{secrets.token_urlsafe(9)}/"
        self.content = page.encode("utf-8", "backslashreplace")
        self.request_s = request_s
        self._given = host.strip("[]")
        self._on_result = on_result
        self._results_left = _MOST_RESULTS
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((self._given, port), _Handler)
        self._bound = ipaddress.ip_address(str(self.server_address[0]))

    def server_bind(self) -> None:
        """Binds the socket, without asking the network for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self._given, self.server_address[1]

    def addresses(self) -> list[str]:
        """Returns the page's addresses, those that other machines can use first."""
        hosts = [self._given]
        if self._bound.is_unspecified:
            hosts = [*_own_addresses(self.address_family), "127.0.0.1"]
        return [
            f"http://{f'[{host}]' if ':' in host else host}:{self.server_port}{self.path}"
            for host in hosts
        ]

    def is_here(self, host: str) -> bool:
        """Returns whether a request's `Host` names this machine, and not another one.

        A name that is neither the one given nor the machine's may be anybody's, who lets it point
        here; an address is what it is.
        """
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower().strip("[]").removesuffix(".")
        if name == self._given.lower():
            return True
        everywhere = self._bound.is_unspecified
        with contextlib.suppress(ValueError):
            address = ipaddress.ip_address(name)
            local = address.is_loopback and self._bound.is_loopback
            return everywhere or local or address == self._bound
        names = {"localhost"} if everywhere or self._bound.is_loopback else set()
        if everywhere:
            own = socket.gethostname().lower()
            names |= {own, f"{own}.local"}
        return name in names

    def take_result(self, report: dict[str, Any]) -> bool:
        """Passes a result on; returns False if there have been too many."""
        with self._lock:
            if self._results_left:
                self._results_left -= 1
                self._on_result(report)
                return True
            return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread; one too many is closed."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of connections that break."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_server(
    page: str, host: str, port: int, on_result: Callable[[dict[str, Any]], None]
) -> PageServer:
    """Makes a `PageServer`."""
    return PageServer(page, host, port, on_result)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request; every method but these two is unknown."""

    server: PageServer
    timeout = _ANSWER_S
    _unread = False

    def setup(self) -> None:
        """Bounds the time until the request is here, however slowly it comes."""
        super().setup()
        self._deadline = threading.Timer(self.server.request_s, self._hang_up)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        """Ends the connection."""
        self._deadline.cancel()
        if self._unread:
            self._throw_away()
        super().finish()

    def _throw_away(self) -> None:
        """Takes what is still sent of a request that was refused.

        On a connection that is closed before, the browser meets an error and loses the answer.
        """
        end, left = time.monotonic() + _UNREAD_S, _UNREAD_BYTES
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (seconds := end - time.monotonic()) > 0:
                self.connection.settimeout(seconds)
                size = len(self.connection.recv(min(left, 2**16)))
                if not size:
                    return
                left -= size

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # It has ended.
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Sends the page."""
        if not self._names_us():
            self._answer(403)
        elif self._is_at(""):
            self._answer(200, self.server.content)
        else:
            self._answer(404)

    def do_POST(self) -> None:
        """Takes a result."""
        self._unread = True
        if not (self._names_us() and self._is_from_our_page()):
            self._answer(403)
        elif self._is_at("result"):
            self._answer(self._take())
        else:
            self._answer(404)

    def _take(self) -> int:
        """Reads a result and passes it on; returns the answer's status."""
        size = self.headers.get("Content-Length", "")
        if not _LENGTH.fullmatch(size) or int(size) > _MAX_BYTES:
            return 400
        content = self.rfile.read(int(size))
        self._unread = False
        try:
            report = parse_json(content)
        except ValueError:
            return 400
        if not isinstance(report, dict):
            return 400
        # Before the answer, which says that the result is here.
        return 204 if self.server.take_result(report) else 429

    def _names_us(self) -> bool:
        """Returns whether the request names this machine, once."""
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 and self.server.is_here(hosts[0])

    def _is_from_our_page(self) -> bool:
        """Returns whether the page that sends the request is ours, where a browser says so."""
        origin = self.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{self.headers['Host']}".lower():
            return False
        return self.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"

    def _is_at(self, name: str) -> bool:
        """Returns whether the request is for this name below the secret."""
        path, wanted = self.path.split("?")[0], self.server.path + name
        return secrets.compare_digest(path.encode(), wanted.encode())

    def _answer(self, status: int, body: bytes = b"") -> None:
        """Sends an answer with our headers."""
        self._deadline.cancel()
        self.send_response(status)
        kind = "text/html; charset=utf-8" if body else "text/plain"
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what isn't HTTP, or a method that is unknown, with a status and nothing else."""
        self._answer(code)

    def version_string(self) -> str:
        """Names the program, not the version of Python."""
        return "tfcompress"

    def log_message(self, format: str, *args: Any) -> None:
        """Leaves the terminal to the results."""


def _own_addresses(listening: int) -> list[str]:
    """Returns this machine's addresses in its networks, for a family of sockets."""
    found = []
    families = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]
    # Nothing is sent: the system only chooses which of its addresses it would send from. Who
    # listens by IPv6 hears IPv4 too.
    for family, elsewhere in families if listening == socket.AF_INET6 else families[:1]:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
    return [host for host in found if not ipaddress.ip_address(host).is_loopback]
