import concurrent.futures
import contextlib
import http.client
import json
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

from tfcompress.webbench import serve
from tfcompress.webbench.serve import PageServer


@contextlib.contextmanager
def serving(host="127.0.0.1", **options):
    """A server that runs, and the results that came."""
    results = []
    with PageServer("<p>page</p>", host, 0, results.append, **options) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server, results
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def served(server):
    """The address of a served page, and the results that came."""
    running, results = server
    results.clear()
    return running.addresses()[0], results


def status(url, body=None, method=None, **headers):
    """The answer's status."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with contextlib.closing(urllib.request.urlopen(request)) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def raw(server, content):
    """What the server answers to bytes, until it hangs up."""
    with socket.create_connection(server.server_address[:2], timeout=30) as connection:
        connection.sendall(content)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(4096):
                answer += part
        return answer


def test_page_and_headers(served):
    with urllib.request.urlopen(served[0]) as answer:
        assert answer.read() == b"<p>page</p>"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] == "tfcompress"


def test_a_result(served):
    address, results = served
    body = json.dumps({"results": [1]}).encode()
    assert status(f"{address}result", body) == 204
    own = {"Origin": address.rpartition("/")[0].rpartition("/")[0], "Sec_Fetch_Site": "same-origin"}
    assert status(f"{address}result", body, **own) == 204
    assert results == [{"results": [1]}] * 2


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/", None, 404),
        ("/index.html", None, 404),
        ("/result", b"{}", 404),
        ("/../etc/passwd", None, 404),
        ("/AAAAAAAAAAAA/", None, 404),
        ("/AAAAAAAAAAAA/result", b"{}", 404),
        ("{}../etc/passwd", None, 404),
        ("{}elsewhere", b"{}", 404),
        ("{}result", b"no json", 400),
        ("{}result", b"[1]", 400),
        ("{}result", b"\xff", 400),
        ("{}result", b"[" * 100_000, 400),
        ("{}result", b'{"a":' * 100_000, 400),
        ("{}result", b" " * (2**20 + 1), 400),
    ],
)
def test_what_is_refused(served, path, body, expected):
    address, results = served
    parts = urllib.parse.urlsplit(address)
    url = f"http://{parts.netloc}{path.replace('{}', parts.path)}"
    assert status(url, body) == expected
    assert results == []


@pytest.fixture
def refused(server):
    """A connection on which the head of a request of 4 MiB was refused; the body is to come."""
    running, _ = server
    head = f"POST {running.path}result HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2**22}"
    with socket.create_connection(running.server_address[:2], timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.0 400"
        yield connection


def test_a_body_that_is_refused_may_still_be_sent(refused):
    """A browser that met an error on the way would not show the answer."""
    refused.sendall(bytes(2**22))
    while refused.recv(4096):
        pass


def test_a_body_that_is_refused_is_not_taken_for_ever(refused):
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        refused.sendall(bytes(4 * serve._UNREAD_BYTES))


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.1.7"},
        {"Host": "localhost@evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_other_pages_and_names_of_others(served, headers):
    """A page whose name points at this machine, and one that posts to it from elsewhere."""
    address, results = served
    assert status(f"{address}result", b"{}", **headers) == 403
    if "Host" in headers:
        assert status(address, **headers) == 403
    assert results == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "NONSENSE"])
def test_other_methods(served, method, capfd):
    assert status(served[0], method=method) == 501
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("host", "here", "not_here"),
    [
        ("127.0.0.1", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "localhost."],
         ["10.0.0.1", "[::2]", "a.example", "[", "::1", "localhost:99999999", "a b", "1"]),
        ("localhost", ["localhost", "127.0.0.1", "[::1]"], ["a.example"]),
        ("0.0.0.0", ["10.0.0.1:8000", "127.0.0.1", "[fe80::1]", "{own}", "{own}.local"],
         ["a.example", "{own}.a.example", "10.0.0.1.example", "local"]),
    ],
)  # fmt: skip
def test_names_of_this_machine(host, here, not_here):
    own = socket.gethostname()
    with PageServer("", host, 0, print) as server:
        assert [name for name in here if not server.is_here(name.replace("{own}", own))] == []
        assert [name for name in not_here if server.is_here(name.replace("{own}", own))] == []


def test_addresses_that_a_phone_can_use(monkeypatch):
    monkeypatch.setattr(serve, "_own_addresses", lambda family: ["192.168.1.7"])
    with PageServer("", "0.0.0.0", 0, print) as server, PageServer("", "::1", 0, print) as six:
        port = server.server_address[1]
        assert server.addresses() == [
            f"http://192.168.1.7:{port}{server.path}",
            f"http://127.0.0.1:{port}{server.path}",
        ]
        assert six.addresses()[0].startswith("http://[::1]:")
        assert server.path != six.path
        assert len(server.path) == 14
    assert serve._own_addresses(socket.AF_INET6) is not None


def test_a_phone_by_its_address():
    with serving("0.0.0.0") as (server, results):
        address = f"http://127.0.0.1:{server.server_address[1]}{server.path}"
        assert status(address) == 200
        origin = address.removesuffix(server.path)
        assert status(f"{address}result", b'{"a": 1}', Origin=origin) == 204
        assert results == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"GET {path}\r\n\r\n", b""),  # HTTP/0.9 has no Host.
        (b"GET {path} HTTP/1.0\r\n\r\n", b" 403 "),
        (b"GET {path} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b" 403 "),
        (b"POST {path}result HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 400 "),
        (b"POST {path}result HTTP/1.1\r\nHost: localhost\r\nContent-Length: %s\r\n\r\n"
         % (b"9" * 5000), b" 400 "),
        (b"\x16\x03\x01\x02\r\n\r\n", b""),
        (b"GET " + b"a" * 70_000, b" 414 "),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", b" 431 "),
    ],
)  # fmt: skip
def test_what_no_browser_sends(server, content, answer, capfd):
    running, results = server
    said = raw(running, content.replace(b"{path}", running.path.encode()))
    assert answer in said
    assert b"<p>page" not in said
    assert results == []
    assert capfd.readouterr() == ("", "")


def test_slow_requests_and_too_many(capfd):
    """Whoever holds all connections is hung up on; then others get the page."""
    with serving(request_s=0.3) as (server, results):
        path = server.path.encode()
        unfinished = [
            b"",
            b"GET " + path,
            b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n",
            b"POST " + path + b"result HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        ]
        before = threading.active_count()
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            answers = list(pool.map(lambda at: raw(server, unfinished[at % 4]), range(60)))
            # The pool's own, and a thread and a clock for each connection.
            assert threading.active_count() <= before + 60 + 2 * serve._MOST_CONNECTIONS
        assert not any(b"<p>page" in answer for answer in answers)
        assert results == []
        with contextlib.closing(http.client.HTTPConnection(*server.server_address)) as connection:
            connection.request("GET", server.path, headers={"Host": "localhost"})
            assert connection.getresponse().read() == b"<p>page</p>"
    assert capfd.readouterr() == ("", "")


def test_results_come_to_an_end(monkeypatch):
    monkeypatch.setattr(serve, "_MOST_RESULTS", 2)
    with serving() as (server, results):
        address = f"{server.addresses()[0]}result"
        assert [status(address, b"{}") for _ in range(4)] == [204, 204, 429, 429]
        assert results == [{}, {}]
