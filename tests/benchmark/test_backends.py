import pytest

from tfcompress.benchmark.backends import parse
from tfcompress.errors import InputError


def test_names():
    assert [parse(name).kind for name in ("cpu", "cpu-noxnn", "gpu", "gpu+cpu")] == [
        "cpu",
        "cpu-noxnn",
        "gpu",
        "gpu+cpu",
    ]
    assert [parse(name).is_cpu for name in ("cpu", "cpu-noxnn", "gpu")] == [True, True, False]
    assert parse("cpu").precision is None
    assert parse("gpu").precision == "fp16"
    assert parse("gpu+cpu?precision=fp32").to_json() == {
        "kind": "gpu+cpu",
        "library": None,
        "options": {"precision": "fp32"},
        "precision": "fp32",
        "signature": "serving_default",
    }
    assert parse("cpu").signature is None
    assert parse("cpu-noxnn?signature=xnor").signature == "xnor"


def test_delegates(tmp_path, monkeypatch):
    library = tmp_path / "libx.so"
    library.touch()
    found = parse(f"delegate:{library}?device=usb&path=a%3Db%26c&flag=")
    assert found.library == str(library)
    assert found.options == {"device": "usb", "path": "a=b&c", "flag": ""}
    monkeypatch.chdir(tmp_path)
    assert parse("delegate:./libx.so").library == str(library)
    # The system's loader finds it, or says why not.
    assert parse("delegate:libedgetpu.so.1").library == "libedgetpu.so.1"


def test_phones():
    assert parse("android").library is None
    found = parse("android:10.0.0.2:5555?use_gpu=true")
    assert (found.kind, found.library) == ("android", "10.0.0.2:5555")
    assert found.options == {"use_gpu": "true"}
    assert not found.is_cpu
    assert not found.is_gpu


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "one of cpu, cpu-noxnn, gpu, gpu.cpu, delegate:PATH, android:SERIAL; got 'tpu'"),
        ("delegate:", "needs the path of a shared library"),
        ("delegate:PATH?", "options are key=value&key=value"),
        ("delegate:/no/such/lib.so", "there is no file /no/such/lib.so"),
        ("delegate:x.so?key", "options are key=value&key=value"),
        ("delegate:x.so?a=1&a=2", "option a is given twice"),
        ("gpu?precision=fp64", "gpu.precision must be one of fp16, fp32; got 'fp64'"),
        ("gpu?speed=1", "gpu takes precision, not 'speed'"),
        ("cpu?precision=fp16", "cpu takes signature, not 'precision'"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(InputError, match=message):
        parse(name)
