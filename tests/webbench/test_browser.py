"""The page in a real browser, with the real LiteRT.js: needs Chromium and, once, the network."""

import queue
import shutil
import subprocess
import threading

import pytest

from tests.benchmark.flat import grouped
from tfcompress.errors import InputError
from tfcompress.webbench import make_page
from tfcompress.webbench.serve import make_server

WORDS = (
    "--headless=new",
    "--no-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)


@pytest.mark.slow
def test_right_and_wrong_files(small_file, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    wrong = grouped(tmp_path / "two.tflite", 2)
    try:
        page = make_page([small_file, wrong], runs=5, min_seconds=0)
    except InputError as error:
        pytest.skip(str(error))
    came = queue.Queue()
    with make_server(page, "127.0.0.1", 0, came.put) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        address = f"{serving.addresses()[0]}#run"
        running = subprocess.Popen(
            [browser, *WORDS, f"--user-data-dir={tmp_path / 'profile'}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            report = came.get(timeout=120)
        finally:
            running.kill()
            running.wait()
            serving.shutdown()
    assert "error" not in report, report
    found = {(job["file"], job["backend"]): job for job in report["results"]}
    for name in ("small.tflite", "two.tflite"):
        job = found[name, "wasm"]
        assert job["outcome"] == "ok"
        assert job["relative_rms"] < 1e-3
        assert job["latency_ms_p50"] > 0
        assert job["runs"] >= 5
    assert found["small.tflite", "wasm"]["ratio"] == 1
    # The software GPU may be missing; a wrong file never has a time.
    gpu = found["small.tflite", "webgpu"]
    assert gpu["outcome"] in ("ok", "no-adapter")
    assert gpu["outcome"] == "no-adapter" or gpu["software"]
    assert found["two.tflite", "webgpu"]["outcome"] in ("mismatch", "unsupported", "no-adapter")
    assert "latency_ms_p50" not in found["two.tflite", "webgpu"]
