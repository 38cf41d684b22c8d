"""Every number of README, and every measurement that docs/ quotes, is in the committed rows."""

import json
import re

import default_run
import pytest
import readme
from measurements import FILE, Measurements
from readme import ROOT, rendered

from tests.experiments import numbers
from tests.experiments.numbers import (
    STACKS,
    decomposed,
    deep,
    deep_points,
    kernel,
    layer_range,
    lce,
    lost_by_recipe,
    macs,
    mib,
    of_stacks,
    perforated_range,
    row,
    seeds,
    stored,
    tiny,
)

STACK = "conv 14x14x256, xnor"
HASHED = "dense 4096, {}, float32"
NETS = "decomposed_net_speed"
VGG16_CUT = "vgg16_techniques", "channels, size_ratio=0.18, seed 0"
VGG16_INT8 = "vgg16_techniques", "channels, size_ratio=0.18, int8, seed 0"
VGG16_PQ = "vgg16_techniques", "pq, seed 0"
# Equal labels in MediaPipe where all are, and the images.
ALL_LABELS = (
    numbers.mediapipe_others(),
    numbers.results("mediapipe_classifier").settings["images"],
)
# Sentences of README, with `{}` where a number stands, and the numbers.
README = {
    "gives its labels as an int8 file on {:.1f}%": [100 * row("keras2_h5", "int8")["agreement"]],
    "on {:.1f}% with half of its weights zero, on {:.1f}% factorised": [
        100 * row("keras2_h5", name)["agreement"] for name in ("prune, int8", "svd, int8")
    ],
    "take {:.1f} (`int8`), {:.1f} (`int4`), {:.1f} (`int2`) and {:.1f} (`1bit`) times fewer bytes "
    "than floats, at {:.2f}, {:.2f}, {:.2f} and {:.2f} of their latency": [
        stored(f"{STACK}, {bits}", key)
        for key in ("size", "ratio")
        for bits in ("int8", "int4", "int2", "1bit")
    ],
    "hashed at 1/8 takes {:.1f} times fewer at {:.2f} (our permutation) or {:.1f} times fewer at "
    "{:.1f} (the paper's hash)": [
        stored(HASHED.format(kind), key)
        for kind in ("permutation", "elementwise")
        for key in ("size", "ratio")
    ],
    "one found a file of {:.2f} of the bytes of the best one made by hand, {:.2f} points more "
    "accurate, the other one of {:.2f}, {:.2f} points more accurate": [
        *numbers.searched("search_budget_one_process"),
        *numbers.searched("search_budget"),
    ],
    "{:,} bytes with 4-bit weights rounded by GPTQ are right on {:.2f}% of CIFAR-10's 10,000 test "
    "images, at {:.2f} of the time": tiny(
        "int8_int4, gptq, ranges of least error, small", "size_bytes", "accuracy", "ratio"
    ),
    "with trained 4-bit weights is right on {:.2f}% with {:,} bytes, at {:.2f} of that time": tiny(
        "lsq, 4 bits", "accuracy", "size_bytes", "ratio"
    ),
    "trained 4-bit weights on {:.2f}% with {:,} bytes, at {:.2f} of the time": tiny(
        "resnet8_large, channels and lsq, 4 bits", "accuracy", "size_bytes", "ratio"
    ),
    "which is right on {:.2f}% with {:,} bytes": tiny("reference, int8", "accuracy", "size_bytes"),
    "VGG-S as in the 2017 study: {:.0f} MiB, hashed {:.0f} at {:.2f}, its binary layers as bits "
    "{:.1f} at {:.2f}": [
        mib(row("xnor_nets", "vgg_s")["size_bytes"]),
        mib(stored("vgg_s, permutation, float32", "size_bytes")),
        stored("vgg_s, permutation, float32", "ratio"),
        mib(stored("vgg_s, xnor, 1bit", "size_bytes")),
        stored("vgg_s, xnor, 1bit", "ratio"),
    ],
    "{:.1f} times smaller pruned, {:.1f} with shared values, {:.1f} Huffman-coded, {:.2f} points "
    "below float": [
        deep("vgg_small", "pruned", "bits"),
        deep("vgg_small", "shared", "bits"),
        deep("vgg_small", "shared", "huffman"),
        deep_points("vgg_small"),
    ],
    "with 90% zeros [{:.0f} times], {:.2f} points below": [
        deep("vgg_small_90", "shared", "huffman"),
        deep_points("vgg_small_90"),
    ],
    "VGG-16 with 92% zeros [{:.1f}]": [deep("vgg16", "shared", "huffman")],
    "VGG-S's dense layers alone [{:.1f}]": [deep("vgg_s_dense", "shared", "huffman")],
    "reaches {:.0%} to {:.0%} of what the processor's xor, popcount and add allow in the "
    "convolutions, {:.0%} in the dense layer": [
        *of_stacks("avx512", lambda key: row("xnor_kernel", key)["share"]),
        kernel("dense 4096x4096", "avx512", "share"),
    ],
    "({:.2f} of its latency for the convolutions, {:.2f} for a whole `vgg_small`": [
        lce(STACKS),
        lce(["vgg_small, xnor"]),
    ],
    "At {:.2f} to {:.2f} of the multiply-accumulates, tuned for 5 epochs, `cp` loses {:.2f} "
    "points, `tucker` {:.2f}, `spatial` {:.2f} and `svd` {:.2f}; `cp` at {:.2f} loses {:.2f}": [
        *macs(0.25),
        *(decomposed(name, 0.25) for name in ("cp", "tucker", "spatial", "svd")),
        macs(0.5, ["cp"])[0],
        decomposed("cp", 0.5),
    ],
    "takes {:.2f} of the latency, VGG-S by CP {:.2f}": [
        row(NETS, "squeezenet, cp: fire8_expand3x3 192, fire9_expand3x3 192")["ratio"],
        row(NETS, "vgg_s, cp: macs_ratio 0.25")["ratio"],
    ],
    "the labels were Keras's on {} of {} images in every storage but `int8_int4` ({}) and `int2` "
    "({})": [
        *ALL_LABELS,
        numbers.mediapipe("float", "int8_int4"),
        numbers.mediapipe("bwn", "int2"),
    ],
    "VGG-16 with {:.2f} of its bytes has an accuracy of {:.1f}% for {:.1f}%, and in int8, {:.1f} "
    "times smaller, of {:.1f}%": [
        row(*VGG16_CUT)["ratio"]["size"],
        100 * row(*VGG16_CUT)["compressed"]["accuracy"],
        100 * row(*VGG16_CUT)["baseline"]["accuracy"],
        1 / row(*VGG16_INT8)["ratio"]["size"],
        100 * row(*VGG16_INT8)["compressed"]["accuracy"],
    ],
    "(`pq`) it is {:.1f} times smaller with {:.1f}%, at {:.2f} of float's latency": [
        1 / row(*VGG16_PQ)["ratio"]["size"],
        100 * row(*VGG16_PQ)["compressed"]["accuracy"],
        row(*VGG16_PQ)["ratio"]["latency"],
    ],
    "`xnor --set recipe=long`, 60 epochs, loses {:.2f} points by [five seeds], the default's 20 "
    "epochs {:.2f}": [lost_by_recipe(title) for title in ("two stages of 30 epochs", "20 epochs")],
    "({:.0f} times the latency of a dense layer)": [stored(HASHED.format("elementwise"), "ratio")],
    "({:,} parameters, {:.1f} M multiply-accumulates)": [
        seeds("quantised", "int8")[0]["baseline"]["parameters"],
        seeds("quantised", "int8")[0]["baseline"]["macs"] / 1e6,
    ],
}
# What README says with digits that nobody measures: settings, names, versions, limits of others.
SAID = (
    "Python 3.11",
    "12,000 images",
    "all 2,000 test images (standard error about 0.65 points)",
    "2 cores of AMD EPYCs (Zen 5 or Zen 4, both with AVX-512), Linux x86-64, 2026-11-20 to 23",
    "The 2017 study",
    "2017 study",
    "Twelve files, seed 0",
    "3x3 convolutions at 14x14x256",
    "a 4096x4096 dense layer",
    "AVX-512",
    "Seeds 0 to 2",
    "SqueezeNet-1.1 with its last two 3x3 convolutions by CP at rank 192",
    "which ran 1.5 times slower",
    "on 2026-11-22",
    "A Keras 2 `.h5`",
    "of 700 others",
    "Keras 3",
    "Keras 2",
    "x86-64",
    "4-bit and 2-bit weights are slower than 8-bit ones",
    "TensorFlow 2.18",
    "Apache-2.0",
    "Fashion-MNIST, 2017 Zalando SE",
)
HASHED_SPEED = "hashed_dense_speed"
# The same for the pages of the layers.
LAYERS = {
    "binary_conv2d": {
        "over three seeds: {:.2f} points of accuracy lost, {:.3f} of the bytes, {:.2f} of the "
        "latency.": [
            numbers.statistics.mean(-r["accuracy_change_points"] for r in seeds("binary", "xnor")),
            seeds("binary", "xnor")[0]["ratio"]["size"],
            numbers.statistics.median(r["ratio"]["latency"] for r in seeds("binary", "xnor")),
        ],
        "neither smaller ({:.3f}) nor faster ({:.2f})": [
            seeds("binary", "binary_activations")[0]["ratio"][key] for key in ("size", "latency")
        ],
        "A training step with both binary took {:.3f} of the float one's": [
            row("train_step", "xnor")["ratio"][0]
        ],
    },
    "cp_conv2d": {
        "multiply-accumulates {:.3f} to {:.3f} of the latency, with about a quarter {:.3f} to "
        "{:.3f}.": [*layer_range("CP", 2, "ratio"), *layer_range("CP", 4, "ratio")],
    },
    "depthwise_separable": {
        "{:,} parameters in place of {:,}, {:.3f} of the latency, a training step of {:.3f}.": [
            row("compact_speed", "compact_vgg16")["parameters"],
            row("compact_speed", "vgg16")["parameters"],
            row("compact_speed", "compact_vgg16")["ratio"][0],
            row("compact_speed", "compact_vgg16")["step_ratio"][0],
        ],
    },
    "hashed_dense": {
        "has a file {:.2f} times smaller at {:.2f} of the latency, and a training step of {:.2f} "
        '(batch 128) or {:.2f} (batch 20) of the dense layer\'s; `"elementwise"` a file {:.2f} '
        "times smaller at {:.1f} of the latency, and a step of {:.1f} or {:.1f}.": [
            figure
            for kind in ("permutation", "elementwise")
            for found in [row(HASHED_SPEED, kind)]
            for figure in (
                found["smaller"],
                found["ratio"][0],
                found["step_ratio"]["128"][0],
                found["step_ratio"]["20"][0],
            )
        ],
    },
    "low_rank_conv2d": {
        "{:.3f} to {:.3f} of the latency with {:.3f} to {:.3f} of the multiply-accumulates; {:.3f} "
        "to {:.3f} with {:.3f} to {:.3f}.": [
            figure
            for fewer in (2, 4)
            for key in ("ratio", "macs_ratio")
            for figure in layer_range("SVD", fewer, key)
        ],
    },
    "perforated_conv2d": {
        "{:.2f} to {:.2f} of its latency at 0.75 and {:.2f} to {:.2f} at 8/9; at 0.5 by rows or "
        "columns {:.2f} to {:.2f}, by a grid {:.2f} to {:.2f}; at random positions, 0.75, "
        "{:.2f} to {:.2f}.": [
            *perforated_range(0.75, "grid"),
            *perforated_range(8 / 9, "grid"),
            *perforated_range(0.5, "rows", "columns"),
            *perforated_range(0.5, "grid"),
            *perforated_range(0.75, "uniform"),
        ],
    },
    "spatial_separable_conv2d": {
        "with half of the multiply-accumulates {:.3f} to {:.3f} of the latency, with a quarter "
        "{:.3f} to {:.3f}.": [
            *layer_range("spatial", 2, "ratio"),
            *layer_range("spatial", 4, "ratio"),
        ],
    },
    "tucker_conv2d": {
        "{:.3f} to {:.3f} of the latency with {:.3f} to {:.3f} of the multiply-accumulates; {:.3f} "
        "to {:.3f} with {:.3f} to {:.3f}.": [
            figure
            for fewer in (2, 4)
            for key in ("ratio", "macs_ratio")
            for figure in layer_range("Tucker", fewer, key)
        ],
    },
}


def plain(text):
    """Returns a text in one line, links without their targets."""
    return re.sub(r"\]\([^)]*\)", "]", " ".join(text.split()))


def text_of(name):
    return plain((ROOT / name).read_text())


def test_the_tables_of_readme_are_rendered_from_the_rows():
    text = (ROOT / "README.md").read_text()
    assert rendered(text) == text


@pytest.mark.parametrize("sentence", README)
def test_a_sentence_of_readme_is_in_the_rows(sentence):
    assert sentence.format(*README[sentence]) in text_of("README.md")


@pytest.mark.parametrize(
    ("page", "sentence"), [(page, text) for page, texts in LAYERS.items() for text in texts]
)
def test_a_measurement_on_a_layers_page_is_in_the_rows(page, sentence):
    assert sentence.format(*LAYERS[page][sentence]) in text_of(f"docs/layers/{page}.md")


def uncovered(text):
    """Returns what of README holds digits and is neither rendered, nor quoted, nor said."""
    text = re.sub(r"<!-- (\w+): .*?<!-- end of \1 -->|^```.*?^```$", "\n", text, flags=re.M | re.S)
    text = plain(text)
    for sentence in sorted(README, key=len, reverse=True):
        text = text.replace(sentence.format(*README[sentence]), " ")
    text = re.sub(r"`[^`]*`", " ", text)
    for phrase in sorted(SAID, key=len, reverse=True):
        text = text.replace(phrase, " ")
    return re.findall(
        r".{0,30}(?<![A-Za-z0-9])\d.{0,30}", text
    )  # int8 and EfficientNetB0 are names.


def test_every_number_of_readme_is_covered():
    assert not uncovered((ROOT / "README.md").read_text())
    assert all(phrase in text_of("README.md") for phrase in SAID)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("of stacked convolutions", "of 5.1 times faster convolutions"),
        (" 26.8 (`1bit`)", " 26.9 (`1bit`)"),
        ("ran on x86-64", "ran 3 times faster on x86-64"),
    ],
)
def test_a_number_that_was_changed_by_hand_is_found(was, now):
    text = (ROOT / "README.md").read_text()
    assert was in text
    assert uncovered(text.replace(was, now))


def copied(folder, target, **made):
    """Copies rows into another folder, with other things said of where they were measured."""
    target.mkdir(parents=True, exist_ok=True)
    stored = json.loads((folder / FILE).read_text())
    stored["made"] = [{**record, **made} for record in stored["made"]]
    (target / FILE).write_text(json.dumps(stored))


def test_a_second_class_of_processors_gets_columns_beside_the_first(tmp_path, monkeypatch):
    headers, _, stack, *nets, _, line = readme.kernels().splitlines()
    assert headers.startswith("| net | float, ms | of float | of float, AVX2 kernel | of int8 |")
    assert stack.split(" | ")[3] == f"{kernel(STACKS[0], 'avx2', 'ratio')[0]:.2f}"
    forced = Measurements(readme.RESULTS / "xnor_nets" / readme.SLOWER)["bi_real, 8-bit ends"]
    assert nets[-1].split(" | ")[3] == f"{forced['to_float'][0]:.2f}"
    assert line == "Latencies on AMD EPYC (AVX2, AVX-512, AVX-512 VPOPCNTDQ, VNNI), 2 cores."
    for folder in ("xnor_kernel", "xnor_nets"):
        copied(readme.RESULTS / folder, tmp_path / folder)
        copied(readme.RESULTS / folder, tmp_path / folder / "other", features=["AVX2"])
    forced = f"TFCOMPRESS_KERNEL=avx2 {numbers.results('xnor_nets').made[0]['command']}"
    copied(readme.RESULTS / "xnor_nets", tmp_path / "xnor_nets" / "forced", command=forced)
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    headers, _, *rows, _, line = readme.kernels().splitlines()
    columns = ("AVX-512 VNNI", "AVX2", "AVX2 kernel")
    assert " | ".join(f"of float, {name}" for name in columns) in headers
    assert " | ".join(f"of int8, {name}" for name in columns) in headers
    assert all(line.count("|") == headers.count("|") for line in rows)
    assert not any(" - " in row for row in rows)
    assert "; AMD EPYC (AVX2), 2 cores" in line


def test_other_processors_time_the_twelve_files(tmp_path, monkeypatch):
    models = ROOT / "tflite_models"
    copied(models, tmp_path)
    monkeypatch.setattr(readme, "TFLITE_MODELS", tmp_path)
    before = readme.zoo().splitlines()
    assert before[3].endswith(" 0.32* |")
    assert before[-1].endswith("; * features not recorded.")
    # Measured again on the same class, with the features: these latencies come in their place.
    copied(models / "avx512", tmp_path / "again")
    again = readme.zoo().splitlines()
    assert again[3].endswith(" 0.32 |")
    assert "*" not in again[-1]
    copied(models / "avx512", tmp_path / "other", features=["NEON", "NEON dot product"])
    after = readme.zoo().splitlines()
    columns = "latency, AVX-512 VNNI | latency, NEON dot product |"
    assert after[0] == before[0].replace("latency |", columns)
    assert after[3] == f"{again[3]} 0.32 |"


def test_the_default_run_has_a_line_a_file_once_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    assert readme.default_run() == ""
    results = Measurements(tmp_path / "default_run")
    made = {"date": "2026-01-01", "cpu": "CPU", "cores": 2, "versions": {}, "command": "run"}
    sizes = {"accuracy": 0.91, "size_bytes": 2048, "gzip_bytes": 1024}
    results.put(default_run.RUN, {"seconds": 100}, made)
    for name in default_run.FILES:
        results.put(name, {**sizes, "size_ratio": 1, "latency_ms_p50": 0.1, "ratio": 0.5}, made)
    assert readme.default_run().splitlines()[2:] == [
        *(f"| `{name}` | .9100 | 2 | 1.00 | 0.100* | 0.50* |" for name in default_run.FILES),
        "",
        "Latencies on * features not recorded.",
    ]
    assert "The whole command took 100 s." in default_run.page_of(results).note


# Measurements on layers' pages that were made before rows were kept: no other may join them.
WITHOUT_ROWS = {
    "hashed_conv2d": '3x3 at 1/8 by `"permutation"` (batch 1, x86-64, 2026)',
    "hashed_dense": "Measured on MNIST (10,000 images, 3 epochs, SGD at 0.2 with momentum 0.9",
    "shift2d": "measured (one thread, x86-64, 2026)",
}


def measurements_of(text):
    """Returns the items of a page's lists that tell of a measurement in numbers."""
    items = re.findall(r"^- .*?(?=^- |^#|\Z)", text, flags=re.M | re.S)
    told = [plain(item) for item in items if "easured" in item or "results/" in item]
    return [item for item in told if re.search(r"(?<![A-Za-z0-9])\d", item)]


def test_every_measurement_on_a_layers_page_is_in_the_rows():
    count = 0
    for path in sorted((ROOT / "docs" / "layers").glob("*.md")):
        texts = LAYERS.get(path.stem, {})
        quotes = [text.format(*values) for text, values in texts.items()]
        for item in measurements_of(path.read_text()):
            known = [*quotes, WITHOUT_ROWS.get(path.stem, "nothing")]
            assert any(quote in item for quote in known), (path.stem, item)
            count += 1
    assert count >= len(LAYERS) + len(WITHOUT_ROWS)
