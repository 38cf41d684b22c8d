"""Files with two signatures: stock ops for everybody, 1-bit ops where the kernels are."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export.conftest import BINARY_WEIGHTS, binary_net, real_images
from tests.export.storages.limits import EXACT
from tests.export.storages.test_xnor import hashed_net
from tests.export.test_verify import dense_net
from tfcompress import benchmark, kernels
from tfcompress.benchmark import peak
from tfcompress.benchmark.backends import parse
from tfcompress.benchmark.file_summary import summarize, summary_text
from tfcompress.benchmark.profile import profile
from tfcompress.benchmark.table import table
from tfcompress.errors import InputError
from tfcompress.export import ExportError, export
from tfcompress.layers import BinaryDense
from tfcompress.runtime import LiteModel, Metadata, interpreter
from tfcompress.tflite import join as joining
from tfcompress.tflite import metadata
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor
from tfcompress.training import logits

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT}
NET = binary_net


WHY = kernels.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=f"no 1-bit kernels here: {WHY}")
STOCK = "serving_default"
SAID = Metadata(labels=tuple("abcde"), mean=(0.5,), std=(0.25,))


@pytest.fixture(scope="module")
def written(net, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("both") / "m.tflite"
    return export(net, path, storage="xnor+int8", representative=images, metadata=SAID)


def test_both_compute_what_keras_computes(net, written):
    x = real_images(50, seed=2)  # Others than those of the gate.
    expected = logits(net, x)
    for asked, ran in ((None, "xnor"), ("xnor", "xnor"), (STOCK, STOCK)):
        model = LiteModel(written.path, signature=asked)
        assert model.signature == ran
        got = model.predict(x)
        assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
        np.testing.assert_array_equal(got.argmax(1), expected.argmax(1))
    with pytest.raises(InputError, match=r"unknown signature of .*m\.tflite 'xnr': did you mean"):
        LiteModel(written.path, signature="xnr")


def test_says_what_it_holds(net, written, tmp_path):
    apart = {name: export(net, tmp_path / "m.tflite", storage=name) for name in ("int8", "xnor")}
    parts = {name: read(written.path).of(name) for name in (STOCK, "xnor")}
    for part, own in zip(parts.values(), apart.values(), strict=True):
        assert part.op_counts() == own.ops
        assert part.weight_bytes == own.weight_bytes
    # What both need stands in the file once, as the first layer's weights.
    assert written.size_bytes < sum(own.size_bytes for own in apart.values())
    assert written.weight_bytes["float32"] < sum(w.weight_bytes["float32"] for w in apart.values())
    assert written.layer_bytes["first"] == apart["int8"].layer_bytes["first"]
    assert written.layer_bytes["hidden"] == sum(w.layer_bytes["hidden"] for w in apart.values())
    assert written.weight_bytes["int8"] == 8 * written.weight_bytes["uint8"] == BINARY_WEIGHTS
    assert written.min_runtime == apart["int8"].min_runtime
    assert len(written.float_products) == 2
    assert (written.parity.images, written.parity.sign_flips) == (50, 0)
    assert metadata.read(written.path) == SAID
    shown = summarize(written.path)
    assert shown["runs_here"]
    assert shown["signatures"] == [STOCK, "xnor"]
    assert not shown["oldest_runtime"]["unknown"]
    told = {(issue["who"], issue["text"].split(" ")[0]) for issue in shown["issues"]}
    assert ("signature xnor", "CUSTOM:TfcXnorConv2D") in told
    assert ("MediaPipe", "it") in told  # It has several graphs.
    assert "all" not in {who for who, _ in told}
    assert f"{STOCK}, xnor" in summary_text(shown)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_any_app_runs_the_stock_one(net, written):
    import tensorflow as tf

    made = tf.lite.Interpreter(written.path)
    made.allocate_tensors()
    x = real_images(1, seed=3)
    made.set_tensor(made.get_input_details()[0]["index"], x)
    made.invoke()
    got = made.get_tensor(made.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, logits(net, x), rtol=1e-4, atol=1e-5)


def test_without_kernels_the_stock_one_runs(net, written, no_kernels, capfd, tmp_path):
    x = real_images(5, seed=4)
    expected = logits(net, x)
    for _ in range(2):
        model = LiteModel(written.path)
        assert model.signature == STOCK
        np.testing.assert_array_equal(model.predict(x).argmax(1), expected.argmax(1))
    said = [line for line in capfd.readouterr().err.splitlines() if "kernels" in line]
    assert said == [
        "1-bit kernels aren't used (no C compiler: none of cc, gcc and clang is there); binary "
        "networks run on built-in int8 kernels"
    ]
    with pytest.raises(InputError, match=r"holds 1-bit ops .*, but there are no 1-bit kernels"):
        LiteModel(written.path, signature="xnor")
    with pytest.raises(InputError, match=r"storage xnor\+int8 needs tfcompress's 1-bit kernels"):
        export(net, tmp_path / "m.tflite", storage="xnor+int8")


def test_the_stock_one_runs_where_only_portable_kernels_do(
    net, written, only_portable, monkeypatch, capfd
):
    x = real_images(5, seed=4)
    expected = logits(net, x).argmax(1)
    stock = LiteModel(written.path)
    assert stock.signature == STOCK
    np.testing.assert_array_equal(stock.predict(x).argmax(1), expected)
    said = [line for line in capfd.readouterr().err.splitlines() if "kernels" in line]
    assert len(said) == 1
    assert "this processor has none of AVX-512 VPOPCNTDQ, AVX2 and NEON" in said[0]
    shown = summarize(written.path)
    assert shown["bit_kernel"] == "portable"
    assert "don't run here, the other signature does" in summary_text(shown)
    # Whoever asks for them gets them, and is told what that costs.
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "portable")
    asked = LiteModel(written.path)
    assert asked.signature == "xnor"
    np.testing.assert_array_equal(asked.predict(x).argmax(1), expected)
    assert "$TFCOMPRESS_KERNEL asks for it" in capfd.readouterr().err


def test_where_no_delegate_takes_the_ops(written, monkeypatch):
    monkeypatch.setattr(interpreter, "delegates_for", lambda path: None)
    found = interpreter.open_file(written.path, threads=1, xnnpack=True)
    assert found.signature == STOCK
    assert "they didn't take the file's ops: " in found.because
    with pytest.raises(InputError, match=r"can't be run by this LiteRT: .*TfcXnorConv2D"):
        LiteModel(written.path, signature="xnor")


def test_load_takes_the_fastest(net, written):
    image = real_images(1, seed=3)[0]
    fast, stock = (tfcompress.load(written.path, signature=name) for name in (None, STOCK))
    assert (fast.signature, stock.signature) == ("xnor", STOCK)
    found = fast(image)
    assert found[0].label == stock(image)[0].label in SAID.labels
    np.testing.assert_allclose(fast.probabilities(image), stock.probabilities(image), rtol=1e-4)


def test_each_is_timed(written, tmp_path, monkeypatch):
    monkeypatch.setattr(peak, "SECONDS", 0.01)  # It isn't looked at.
    names = ["cpu", "cpu?signature=serving_default"]
    fast, stock = benchmark.measure(written.path, backends=names, runs=1, min_seconds=0)
    assert (fast.outcome, stock.outcome) == ("ok", "ok")
    assert (fast.signature, stock.signature) == ("xnor", STOCK)
    assert fast.to_json()["signature"] == "xnor"
    assert "cpu x1 (xnor)" in table([fast, stock])
    assert "takes no delegate" in profile(written.path, parse("cpu")).unavailable
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "/no/compiler")
    (without,) = benchmark.measure(written.path, runs=1, min_seconds=0, ops=True)
    assert (without.outcome, without.signature) == ("ok", STOCK)
    assert without.reason.startswith("not as bits: no C compiler")
    assert without.profile.ops or "op times were checked" in without.profile.unavailable


@pytest.mark.parametrize(("broken", "dtype"), [("xnor", "uint8"), (STOCK, "int8")])
def test_one_wrong_weight_is_seen(net, images, tmp_path, monkeypatch, broken, dtype):
    """In either signature: both are compared with Keras."""
    join = joining.join_signatures

    def damaged(first, second, path, name):
        file = second if broken == "xnor" else first
        editor = Editor(file)
        weights = [editor.values(op.inputs[1], dtype) for op in editor.ops() if len(op.inputs) > 1]
        found = next(values for values in weights if values is not None).tobytes()
        data = bytearray(file.read_bytes())
        at = data.index(found)
        data[at] = data[at] ^ 1 if dtype == "uint8" else -data[at] % 256
        file.write_bytes(data)
        join(first, second, path, name)

    monkeypatch.setattr(joining, "join_signatures", damaged)
    with pytest.raises(ExportError, match=f"signature {broken}: the file differs from Keras"):
        export(net, tmp_path / "m.tflite", storage="xnor+int8", representative=images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: binary_net(inputs=False), {}, r"storage xnor\+int8: storage xnor finds nothing"),
        (dense_net, {"io": "int8"}, "io=int8 is for files that compute in integers"),
        (hashed_net, {}, "hashed weights are expanded by a graph that runs once .*: use int8"),
    ],
)
def test_what_it_isnt_for(tmp_path, build, options, message):
    with pytest.raises(InputError, match=message) as caught:
        export(build(), tmp_path / "m.tflite", storage="xnor+int8", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_loop_beside_binary_layers(tmp_path):
    """The graphs that a loop runs belong to the signature that has it."""
    steps = keras.Input((5, 6), name="steps")
    x = layers.Dense(16)(layers.SimpleRNN(8)(steps))
    x = BinaryDense(12, name="binary")(x)
    model = keras.Model(steps, layers.Dense(3)(x))
    x = np.random.default_rng(0).normal(size=(20, 5, 6)).astype("float32")
    path = tmp_path / "m.tflite"
    export(model, path, storage="xnor+int8", representative=x)
    parts = {name: read(path).of(name) for name in (STOCK, "xnor")}
    assert {len({op.subgraph for op in part.ops}) for part in parts.values()} == {3}
    assert sum(len(part.ops) for part in parts.values()) == len(read(path).ops)
    for name in parts:
        got = LiteModel(path, signature=name).predict(x)
        np.testing.assert_allclose(got, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
