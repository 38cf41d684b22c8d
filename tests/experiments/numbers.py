"""What README and docs quote of the measurements: each sentence, and the rows it comes from."""

import functools
import statistics

from measurements import Measurements
from readme import ROOT
from techniques import keys_of


@functools.cache
def results(folder):
    """Returns the rows of a folder of results."""
    return Measurements(ROOT / "experiments" / "results" / folder)


def row(folder, key):
    return results(folder)[key]


def tiny(name, *figures):
    """Returns figures of a file of MLPerf Tiny's ResNet-8, the accuracy in percent."""
    found = row("mlperf_tiny", name)
    return [100 * found[key] if key == "accuracy" else found[key] for key in figures]


def searched(folder):
    """Returns the bytes of a search's first finalist by those made by hand, and points gained."""
    found, hand = results(folder)["finalists"]["all"][0], results(folder)["by hand"]
    bytes_ratio = statistics.mean(found["sizes"]) / statistics.mean(hand["sizes"])
    gained = statistics.mean(found["accuracies"]) - statistics.mean(hand["accuracies"])
    return [bytes_ratio, 100 * gained]


def stored(case, key="size"):
    """Returns a figure of the storages: bytes by the float file's, or latency by its."""
    return row("storage", case)[key]


def seeds(table, technique):
    """Returns the reports of a technique, one a seed."""
    kept = results(f"{table}_techniques")
    return [kept[key] for key in keys_of(kept, technique)]


def mib(size_bytes):
    return size_bytes / 2**20


def kernel(net, which, key, threads=1):
    return row("xnor_kernel", f"{net}, {which}, {threads}")[key]


STACKS = [f"4 convs {size}" for size in ("56x56x64", "28x28x128", "14x14x256", "7x7x512")]


def of_stacks(which, figure):
    """Returns the smallest and the largest figure of the four stacks of convolutions."""
    values = [figure(f"{stack}, {which}, 1") for stack in STACKS]
    return min(values), max(values)


def deep(folder, net, size):
    """Returns how many times smaller a stage of Deep Compression is, the mean over seeds."""
    runs = results(f"deep_compression_{folder}").rows.values()
    return statistics.mean(run["float"]["bytes"] / run[net][size] for run in runs)


def deep_points(folder):
    """Returns the points below float after the last stage, the mean over seeds."""
    runs = results(f"deep_compression_{folder}").rows.values()
    return statistics.mean(
        100 * (run["float"]["accuracy"] - run["shared"]["accuracy"]) for run in runs
    )


def decomposed(name, ratio):
    """Returns the points lost by a decomposed network after five epochs, the mean over seeds."""
    keys = [f"{name} {ratio} seed {seed}, 5 epochs" for seed in range(3)]
    runs = [row("decomposed_accuracy", key) for key in keys]
    return statistics.mean(100 * (run["float"] - run["after"]) for run in runs)


def macs(ratio, names=("cp", "tucker", "spatial", "svd")):
    values = [
        row("decomposed_accuracy", f"{name} {ratio} seed 0, 5 epochs")["macs"] for name in names
    ]
    return min(values), max(values)


def lce(nets):
    """Returns our latency by larq-compute-engine's; of several nets it must read the same."""
    (text,) = {f"{row('lce', net)['ours_to_lce'][0]:.2f}" for net in nets}
    return float(text)


def layer_range(form, fewer, key):
    """Returns the smallest and largest figure of a form over the sizes."""
    rows = results("decomposed_layer_speed").rows
    values = [found[key] for name, found in rows.items() if name.endswith(f", {fewer}x, {form}")]
    return min(values), max(values)


def perforated_range(rate, *masks):
    """Returns the smallest and largest share of the latency at a rate, over masks and sizes."""
    rows = results("perforated_layer_speed").rows
    ends = tuple(f", {mask}, {rate:.2f}" for mask in masks)
    values = [found["ratio"] for name, found in rows.items() if name.endswith(ends)]
    return min(values), max(values)


def mediapipe(net, storage):
    """Returns how many of MediaPipe's labels are Keras's."""
    return row("mediapipe_classifier", f"{net}, {storage}, float32")["mediapipe_keras"]


def mediapipe_others():
    """Returns the same of every file that MediaPipe takes, but for the two that differ."""
    rows = results("mediapipe_classifier").rows
    differ = ("float, int8_int4, float32", "bwn, int2, float32")
    found = [found for key, found in rows.items() if key not in differ and "refused" not in found]
    (count,) = {found["mediapipe_keras"] for found in found}
    return count


def lost_by_recipe(title):
    """Points below float of a recipe for binary networks, the mean of five seeds."""
    rows = [row("binary_recipes", f"{title}, seed {seed}") for seed in range(5)]
    return statistics.mean(100 * (found["float_accuracy"] - found["accuracy"]) for found in rows)
