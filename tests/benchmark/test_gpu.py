"""The GPU backend, on what LiteRT says and on a GPU that a CPU plays."""

from tests.benchmark.flat import Net, chain, grouped
from tfcompress.benchmark import gpu
from tfcompress.benchmark import measure as function
from tfcompress.benchmark.matmul import matmul_file
from tfcompress.benchmark.table import table

SELECTED = (
    "INFO: x\nI0000 00:00:1795.160437 30957 environment.cc:532] Selected adapter: SwiftShader "
    "Device (Subzero), arch=swiftshader, vendor=google, backend=Vulkan, "
    "adapterType=CPU / Software\nINFO: y"
)


def test_adapter():
    found = gpu.parse_adapter(SELECTED)
    assert (found.name, found.type) == ("SwiftShader Device (Subzero)", "CPU / Software")
    assert found.software
    assert found.gpu_ops is found.cpu_ops is None
    real = gpu.parse_adapter(
        "Selected adapter: NVIDIA H200, vendor=nvidia, adapterType=Discrete GPU\n"
    )
    assert (real.name, real.type, real.software) == ("NVIDIA H200", "Discrete GPU", False)
    assert gpu.parse_adapter("nothing") == gpu.Adapter(None, None, None, None)


def test_split():
    some = gpu.parse_adapter(
        "1 operations will run on the GPU, and the remaining 23 operations will run"
    )
    assert (some.gpu_ops, some.cpu_ops) == (1, 23)
    none = gpu.parse_adapter(
        "No operations will run on the GPU, and all 7 operations will run on the CPU"
    )
    assert (none.gpu_ops, none.cpu_ops) == (0, 7)


def test_failures():
    log = "Warning: vkCreateInstance: Found no drivers!\nINTERNAL: No adapters found\nERROR: z"
    assert gpu.explain_failure(log) == (
        "no-adapter",
        "LiteRT's GPU accelerator needs a GPU: there is no driver for one",
    )
    lines = "\n".join(f"OP{n}: no." for n in range(5))
    log = (
        f"ERROR: Following operations are not supported by GPU delegate:\n{lines}\n"
        "No operations will run on the GPU, and all 5 operations will run on the CPU.\n"
    )
    reason = "the GPU refused ops: OP0: no.; OP1: no.; OP2: no. and 2 more"
    assert gpu.explain_failure(log) == ("unsupported", reason)
    log = "ERROR: [x.cc:53] WebGPU error: Validation error: binding size is zero\n"
    assert gpu.explain_failure(log)[1] == (
        "the GPU accelerator failed: Validation error: binding size is zero"
    )
    log = "WARNING: [gpu_registry.cc:160] GPU accelerator could not be loaded and registered.\n"
    assert gpu.explain_failure(log)[0] == "no-adapter"
    assert gpu.explain_failure("INFO: all is well\n") is None


def outcomes(paths, backends):
    found = function(paths, backends=backends, runs=1, min_seconds=0, timeout_s=60)
    return found, [file.outcome for file in found]


def test_no_adapter(tiny_file, no_gpu):
    found, seen = outcomes(tiny_file, ["gpu", "gpu+cpu", "cpu"])
    assert seen == ["no-adapter", "no-adapter", "ok"]
    assert "needs a GPU" in found[0].reason
    assert [file.timed for file in found] == [False, False, True]
    assert found[0].adapter is None


def test_right_wrong_and_crashed_files(tmp_path, software_gpu):
    # As CP writes a convolution: 1x1, two depthwise, 1x1.
    net = Net()
    x = net.tensor((1, 8, 8, 8))
    y = net.depthwise(net.depthwise(net.conv(x, 6, 1), 3, 1, seed=1), 1, 3, seed=2)
    cp = net.write(tmp_path / "cp.tflite", [x], [net.conv(y, 8, 1, seed=3)])
    integer = tmp_path / "int8.tflite"
    integer.write_bytes(matmul_file("int8", 8))
    wrong = grouped(tmp_path / "two.tflite", 2)
    crash = grouped(tmp_path / "six.tflite", 6)
    found, seen = outcomes([cp, wrong, crash, integer], "gpu")
    assert seen == ["ok", "mismatch", "crashed", "ok"]
    assert [file.timed for file in found] == [True, False, False, True]
    assert found[3].ratio > 0  # the failed ones in between cost it nothing
    assert (found[0].accelerated_ops, found[0].cpu_ops) == (4, 0)
    assert found[0].parity_relative_rms < 1e-3
    assert found[1].parity_relative_rms > 0.1
    assert found[0].software
    assert found[0].adapter_type == "CPU / Software"
    assert found[0].peak_share is None
    text = table(found)
    assert "not a performance number" in text
    assert "May fail on a GPU: six.tflite: a grouped convolution of 6 channels" in text


def test_what_the_gpu_leaves_to_the_cpu(tmp_path, software_gpu):
    mixed = chain(tmp_path / "mixed.tflite", "NEG", "LOG_SOFTMAX")
    (strict, loose), seen = outcomes(mixed, ["gpu", "gpu+cpu"])
    assert seen == ["unsupported", "partial"]
    assert "LOG_SOFTMAX: Operation is not supported" in strict.reason
    assert (loose.accelerated_ops, loose.cpu_ops) == (1, 1)
    assert [strict.timed, loose.timed] == [False, True]


def test_padding_with_ones_before_a_convolution_is_wrong(tmp_path, software_gpu):
    """LiteRT 2.3 folds the padding into the convolution, whose own is of zeros.

    If this fails, a newer LiteRT may be right, and the warning may go.
    """
    net = Net()
    x = net.tensor((1, 4, 4, 8))
    pads = net.tensor((4, 2), "int32", values=[[0, 0], [1, 1], [1, 1], [0, 0]])
    padded = net.op("PADV2", [x, pads, net.tensor((), values=1.0)], (1, 6, 6, 8))
    path = net.write(tmp_path / "pad.tflite", [x], [net.conv(padded, 8, padding=1)])
    found, seen = outcomes(path, "gpu")
    assert seen == ["mismatch"]
    assert found[0].warnings == ("a convolution after PADV2 is computed as if padded with zeros",)
