"""Files of 1-bit ops: written, compared, and run by whatever runs files here."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export.conftest import BINARY_WEIGHTS, FLOAT_WEIGHTS, binary_net, real_images
from tests.export.storages.limits import EXACT
from tests.export.test_verify import dense_net, float_file, numbers
from tfcompress import benchmark, graph, kernels
from tfcompress.benchmark import peak
from tfcompress.benchmark.file_summary import summarize, summary_text
from tfcompress.benchmark.profile import profile
from tfcompress.benchmark.table import table
from tfcompress.config import RunConfig
from tfcompress.errors import InputError
from tfcompress.export import ExportError, export, storages, verify, xnor_ops
from tfcompress.export.audit import audit
from tfcompress.layers import BinaryDense, HashedDense
from tfcompress.pipeline import plan
from tfcompress.runtime import LiteModel, Metadata, delegates
from tfcompress.tflite import compatibility
from tfcompress.tflite.content import read
from tfcompress.training import logits

# What the contract holds the storage to.
LIMITS = {"usual": EXACT, "binary": EXACT}
NET = binary_net


METHOD = storages.get("xnor").usual


def check(*args, **options):
    return verify.check_parity(*args, storage="xnor", **options)


WHY = kernels.missing()
needs_kernels = pytest.mark.skipif(WHY is not None, reason=f"no 1-bit kernels here: {WHY}")


@pytest.fixture(scope="module")
def written(net, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("xnor")
    said = Metadata(mean=(0.5,), std=(0.25,))
    path = folder / "m.tflite"
    return export(net, path, storage="xnor", representative=images, metadata=said)


@needs_kernels
def test_inputs_of_2_bits(images, tmp_path):
    net = binary_net(input_bits=2)
    written = export(net, tmp_path / "m.tflite", storage="xnor", representative=images)
    assert (written.ops["CUSTOM:TfcXnorConv2D"], written.ops["CUSTOM:TfcXnorDense"]) == (3, 1)
    assert written.weight_bytes["uint8"] == BINARY_WEIGHTS / 8
    assert written.parity.max_abs_diff < 1e-5
    assert written.layer_bytes.keys() >= {"strided", "hidden"}


@needs_kernels
def test_a_bit_a_weight(net, written, tmp_path):
    assert written.ops["CUSTOM:TfcXnorConv2D"] == 3
    assert written.ops["CUSTOM:TfcXnorDense"] == 1
    assert written.weight_bytes["uint8"] == BINARY_WEIGHTS / 8
    assert len(written.float_products) == 2
    assert written.layer_bytes["first"] > 4 * 9 * 3 * 8
    assert written.layer_bytes["hidden"] < 3 * 3 * 8 * 20
    assert (written.kept, written.min_runtime) == ({}, "LiteRT with tfcompress's kernels")
    assert (written.parity.images, written.parity.sign_flips) == (50, 0)
    assert written.load_ms > 0
    packed = export(net, tmp_path / "1bit.tflite", storage="1bit")
    assert BINARY_WEIGHTS / 8 + 4 * FLOAT_WEIGHTS < written.size_bytes < packed.size_bytes


@needs_kernels
@pytest.mark.parametrize("xnnpack", [True, False])
def test_computes_what_keras_computes(net, written, xnnpack):
    x = real_images(50, seed=2)  # Others than those of the gate.
    expected = logits(net, x)
    got = LiteModel(written.path, xnnpack=xnnpack).predict(x)
    assert np.abs(got - expected).max() <= 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(got.argmax(1), expected.argmax(1))


@needs_kernels
def test_whoever_runs_files_runs_it(net, written, monkeypatch):
    image = real_images(1, seed=3)
    powers = np.exp(logits(net, image)[0])
    found = tfcompress.load(written.path).probabilities(image[0])
    np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-4)
    monkeypatch.setattr(peak, "SECONDS", 0.01)  # It isn't looked at.
    (measured,) = benchmark.measure(written.path, backends=["cpu"], runs=1, min_seconds=0)
    assert (measured.outcome, measured.timed) == ("ok", True)
    assert measured.macs == read(written.path).macs > BINARY_WEIGHTS
    assert "takes no delegate" in profile(written.path, benchmark.backends.parse("cpu")).unavailable


@needs_kernels
def test_says_what_it_needs(written):
    issues = [str(issue) for issue in compatibility.never(read(written.path))]
    assert len(issues) == 2
    assert all("it needs tfcompress's kernels" in issue for issue in issues)
    shown = summarize(written.path)
    assert shown["runs_here"]
    assert shown["bit_kernel"] == kernels.active()
    assert f"run by the {kernels.active()} kernel" in summary_text(shown)
    assert any("tfcompress's kernels" in issue["text"] for issue in shown["issues"])
    audit(read(written.path), METHOD)
    with pytest.raises(ExportError, match="TfcXnorConv2D isn't a built-in op: it needs tfcompress"):
        audit(read(written.path), storages.get("float32").usual)


@needs_kernels
def test_which_files_need_the_delegate(written, tmp_path):
    plain = float_file(dense_net(), tmp_path / "plain.tflite")
    data = Path(written.path).read_bytes()
    assert delegates.has_bit_ops(written.path)
    assert not delegates.has_bit_ops(plain)
    assert delegates.delegates_for(plain) is None
    # The answer on broken files matters not, but that there is one.
    for cut in (0, 3, 8, 40, 100, len(data) // 2):
        (tmp_path / "cut.tflite").write_bytes(data[:cut])
        delegates.has_bit_ops(tmp_path / "cut.tflite")
    rng = np.random.default_rng(0)
    for _ in range(50):
        broken = bytearray(data)
        for place in rng.integers(0, 400, 4):
            broken[place] = rng.integers(256)
        (tmp_path / "cut.tflite").write_bytes(broken)
        delegates.has_bit_ops(tmp_path / "cut.tflite")


@needs_kernels
def test_without_kernels_it_doesnt_run(written, no_kernels):
    with pytest.raises(InputError, match=r"holds 1-bit ops .*, but there are no 1-bit kernels"):
        LiteModel(written.path)


@needs_kernels
def test_processes_without_kernels_say_so(written, tmp_path, monkeypatch):
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "/no/compiler")
    monkeypatch.setattr(peak, "SECONDS", 0.01)
    (measured,) = benchmark.measure(written.path, backends=["cpu-noxnn"], runs=1, min_seconds=0)
    assert (measured.outcome, measured.timed) == ("unsupported", False)
    assert "holds 1-bit ops of tfcompress's own, but there are no 1-bit kernels" in measured.reason
    with pytest.raises(InputError, match=r"can't be run .*no 1-bit kernels here: no C compiler"):
        tfcompress.load(written.path)


@needs_kernels
def test_portable_kernels_never_run_silently(written, only_portable, monkeypatch, capfd):
    for _ in range(2):
        LiteModel(written.path)
    said = [line for line in capfd.readouterr().err.splitlines() if "portable" in line]
    assert said == [
        "warning: the portable kernel runs 1-bit ops, slower than LiteRT's own run floats: this "
        "processor has none of AVX-512 VPOPCNTDQ, AVX2 and NEON; a file of storage int8 or "
        "xnor+int8 runs on LiteRT's int8 kernels"
    ]
    shown = summarize(written.path)
    assert shown["bit_kernel"] == "portable"
    assert "slower than LiteRT's own" in summary_text(shown)
    monkeypatch.setenv("TFCOMPRESS_KERNEL", "portable")  # Of the measuring processes.
    monkeypatch.setattr(peak, "SECONDS", 0.01)
    (measured,) = benchmark.measure(written.path, runs=1, min_seconds=0)
    assert measured.timed
    assert measured.reason.startswith("the portable kernel runs 1-bit ops")
    assert measured.reason in table([measured])


def test_the_command_takes_it_where_kernels_are(monkeypatch):
    config = RunConfig(technique="xnor", storage="xnor")
    monkeypatch.setattr(kernels, "missing", lambda: None)
    assert plan.plan(config).storages == ("xnor",)
    monkeypatch.setattr(kernels, "missing", lambda: "no C compiler")
    with pytest.raises(InputError, match=r"storage xnor needs .*: no C compiler; use 1bit or int8"):
        plan.plan(config)


def test_without_kernels_it_isnt_written(net, tmp_path, no_kernels):
    with pytest.raises(InputError, match=r"needs tfcompress's 1-bit kernels, .* no C compiler"):
        export(net, tmp_path / "m.tflite", storage="xnor")
    assert not list(tmp_path.iterdir())


@needs_kernels
@pytest.mark.parametrize("binary", [True, False], ids=["bwn", "float"])
def test_a_net_without_binary_inputs(tmp_path, binary):
    net = binary_net(inputs=False)
    if not binary:
        inputs = keras.Input((8,))
        net = keras.Model(inputs, layers.Dense(3)(inputs))
    message = r"storage xnor finds nothing .*no layer with binary inputs and weights .*: use 1bit"
    with pytest.raises(InputError, match=message) as caught:
        export(net, tmp_path / "m.tflite", storage="xnor")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def hashed_net():
    """Hashed weights that a file expands in a graph of their own, before a binary layer."""
    inputs = keras.Input((32,))
    x = HashedDense(128, hashing="elementwise", bias_initializer="uniform")(inputs)
    x = BinaryDense(16, bias_initializer="uniform")(x)
    return keras.Model(inputs, layers.Dense(3)(x))


@needs_kernels
def test_beside_weights_that_another_graph_expands(tmp_path):
    keras.utils.set_random_seed(0)
    rows = np.random.default_rng(0).normal(size=(20, 32)).astype("float32")
    made = export(hashed_net(), tmp_path / "m.tflite", storage="xnor", representative=rows)
    assert (made.ops["CALL_ONCE"], made.ops["CUSTOM:TfcXnorDense"]) == (1, 1)
    assert made.parity.sign_flips == 0


@needs_kernels
class TestTies:
    @pytest.fixture(scope="class")
    def shifted(self, tmp_path_factory):
        """A float file that differs from `dense_net()` where a number lies in -1e-6..0, and its
        rewriting."""
        folder = tmp_path_factory.mktemp("shifted")
        float_path = float_file(dense_net(1e-6), folder / "float.tflite")
        xnor_ops.xnor_file(float_path, folder / "xnor.tflite")
        return float_path, folder / "xnor.tflite"

    def test_are_explained_by_the_float_file(self, shifted):
        float_path, path = shifted
        x = numbers(20, ties=(3, 11))
        parity = check(dense_net(), path, x, METHOD, suspects=verify.Suspects(signs=float_path))
        assert (parity.images, parity.sign_flips, parity.agreement) == (20, 2, 1.0)
        assert parity.max_abs_diff <= 1e-5 * parity.max_abs_output
        with pytest.raises(ExportError, match="the file differs from Keras"):
            check(dense_net(), path, x, METHOD)

    def test_excuse_no_other_difference(self, shifted, tmp_path):
        """Where the float file has a tie, another file must still be that file."""
        lowered = graph.clone(graph.lower(dense_net(1e-6), activations="signed"))
        kernel = lowered.get_layer("scores").kernel
        kernel.assign(kernel.numpy() * np.float32(1 + 4e-6))
        other = float_file(lowered, tmp_path / "m.tflite")
        x = numbers(20, ties=(3, 11))
        # Within the tolerance it passes; behind a sign that is really wrong it doesn't.
        assert (
            check(
                dense_net(), other, x, METHOD, suspects=verify.Suspects(signs=shifted[0])
            ).sign_flips
            == 2
        )
        wrong = float_file(turned(dense_net(1e-6)), tmp_path / "m.tflite")
        with pytest.raises(ExportError, match="the file differs from Keras"):
            check(dense_net(), wrong, x, METHOD, suspects=verify.Suspects(signs=shifted[0]))


def turned(net):
    """The net with a unit that is wrong for the rows of `numbers` whose third one is tiny."""
    x = net.inputs[0]
    tiny = keras.ops.cast(keras.ops.abs(x[:, 2:3]) < 1e-3, "float32")
    return keras.Model(x, net(x) + tiny)
