import contextlib
import json
import threading
import urllib.error
import urllib.request

import pytest

from tfcompress.webbench.serve import make_server


@pytest.fixture
def served():
    """The address of a served page, and the results that came."""
    results = []
    with make_server("<p>page</p>", "127.0.0.1", 0, results.append) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", results
        serving.shutdown()
        thread.join()


def status(request):
    """The answer's status."""
    with contextlib.closing(urllib.request.urlopen(request)) as answer:
        return answer.status


def test_page_and_headers(served):
    with urllib.request.urlopen(f"{served[0]}/") as answer:
        assert answer.read() == b"<p>page</p>"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_result(served):
    address, results = served
    body = json.dumps({"results": [1]}).encode()
    assert status(urllib.request.Request(f"{address}/result", body)) == 204
    assert results == [{"results": [1]}]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/../etc/passwd", None, 404),
        ("/result", b"no json", 400),
        ("/result", b"[1]", 400),
        ("/result", b" " * (2**20 + 1), 400),
        ("/elsewhere", b"{}", 400),
    ],
)
def test_what_is_refused(served, path, body, expected):
    address, results = served
    with pytest.raises(urllib.error.HTTPError) as caught:
        status(urllib.request.Request(f"{address}{path}", body))
    assert caught.value.code == expected
    assert results == []
