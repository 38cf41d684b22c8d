import json
import re

import keras
import pytest
from keras import layers

from tfcompress import graph, techniques
from tfcompress.api import file_ratios
from tfcompress.benchmark import latency
from tfcompress.errors import InputError
from tfcompress.techniques.channels import TECHNIQUE


def tower():
    """Three dense layers of 64, 48 and 32 that can be narrowed, and 10 outputs."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((40,))
    for units in (64, 48, 32):
        x = layers.Dense(units, activation="relu", name=f"dense_{units}")(x)
    return keras.Model(inputs, layers.Dense(10, name="scores")(x), name="tower")


def units(model):
    return [model.get_layer(f"dense_{units}").units for units in (64, 48, 32)]


def parameters(whole, small, of):
    """Stands in for bytes."""
    return graph.parameters(small) / graph.parameters(whole)


def staircase(whole, small, of):
    """Stands in for a time that steps up at each 16 units, and of which a tenth is overhead."""
    steps = [sum(-(-count // 16) for count in units(model)) for model in (whole, small)]
    return 0.1 + 0.9 * steps[1] / steps[0]


def transform(model, file_ratio, **options):
    said = []
    candidate = techniques.Candidate(
        model, say=lambda stage, text: said.append(text), file_ratio=file_ratio
    )
    return TECHNIQUE.transform(candidate, TECHNIQUE.make_options(**options)).model, said


def test_the_file_is_within_two_percent_of_the_size_asked_for():
    ratios, model = file_ratios.FileRatios(), tower()
    small, said = transform(model, ratios, size_ratio=0.4)
    assert 0.392 <= ratios(model, small, "size") <= 0.4
    assert len([line for line in said if line.startswith("file ")]) <= 3


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.77, 1.0])
def test_the_search_ends_within_two_percent_below(scope, ratio):
    model = tower()
    small, said = transform(model, parameters, scope=scope, size_ratio=ratio)
    assert 0.98 * ratio <= parameters(model, small, "size") <= ratio
    assert all(
        re.match(r"file \d+: 0\.\d+ of the mul.*, 0\.\d+ of the bytes$|dense", x) for x in said
    )


@pytest.mark.parametrize(("ratio", "reached"), [(0.58, 0.5), (0.72, 0.7)])
def test_within_a_time_the_widest_network_stays(ratio, reached):
    """Times go in steps of 16 units: a line says where no step is near, and widths fill theirs."""
    model = tower()
    small, said = transform(model, staircase, latency_ratio=ratio)
    assert staircase(model, small, "latency") == pytest.approx(reached)
    if reached == 0.5:
        assert units(small) == [32, 16, 16]
    missed = f"latency_ratio={ratio:g}: no widths were found that come nearer than {reached:.3f}"
    assert (missed in said) == (reached == 0.5)
    assert len([line for line in said if line.startswith("file ")]) <= 24


@pytest.mark.parametrize("function", [TECHNIQUE.check, TECHNIQUE.transform])
def test_what_is_out_of_reach_says_the_least(function):
    """5, 5 and 4 units at least, a tenth of 64 and 48 rounded up: 7, 5 and 4."""
    least = (41 * 7 + 8 * 5 + 6 * 4 + 5 * 10) / (41 * 64 + 65 * 48 + 49 * 32 + 33 * 10)
    candidate = techniques.Candidate(tower(), file_ratio=parameters)
    message = (
        r"^option size_ratio=0.03 is out of reach for model 'tower': with min_channels=4 in all "
        rf"layers that can lose channels, {least:.3g} of the float32 file's bytes is left$"
    )
    with pytest.raises(InputError, match=message):
        function(candidate, TECHNIQUE.make_options(size_ratio=0.03))


@pytest.mark.parametrize("function", [TECHNIQUE.check, TECHNIQUE.transform])
def test_rigid_models_and_candidates_without_files_are_one_line(function):
    inputs = keras.Input((4,))
    rigid = keras.Model(inputs, layers.Dense(3, name="only")(inputs), name="rigid")
    options = TECHNIQUE.make_options(latency_ratio=0.5)
    with pytest.raises(InputError, match=r"^no layer of model 'rigid' has channels"):
        function(techniques.Candidate(rigid, file_ratio=parameters), options)
    with pytest.raises(InputError, match=r"^option latency_ratio=0.5 needs a candidate that"):
        function(techniques.Candidate(tower()), options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size_ratio": 0}, "^option size_ratio must be above 0 and at most 1; got 0$"),
        ({"latency_ratio": "1.5"}, "^option latency_ratio must be above 0 and at most 1; got 1.5$"),
        (
            {"macs_ratio": 0.5, "size_ratio": 0.5},
            "^give one of macs_ratio, size_ratio, latency_ratio: each says how much stays; got "
            "macs_ratio=0.5 and size_ratio=0.5$",
        ),
    ],
)
def test_wrong_ratios(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)


def test_a_sketch_measures_nothing():
    candidate = techniques.Candidate(tower())
    options = TECHNIQUE.make_options(size_ratio=0.5)
    assert TECHNIQUE.sketch(candidate, options).model.get_layer("dense_64").units < 64


def test_what_was_measured_is_kept_for_a_run_that_goes_on(tmp_path, monkeypatch):
    """Times differ from one measurement to the next, and so would widths."""
    memory = tmp_path / "ratios.json"
    whole, small = tower(), keras.Sequential([keras.Input((40,)), layers.Dense(10)])
    times = iter([0.25])
    monkeypatch.setattr(
        file_ratios.FileRatios, "_measured", lambda self, whole, small, of: next(times)
    )
    assert file_ratios.FileRatios(memory=memory)(whole, small, "latency") == 0.25
    assert list(json.loads(memory.read_text()).values()) == [0.25]
    assert file_ratios.FileRatios(memory=memory)(whole, small, "latency") == 0.25
    with pytest.raises(StopIteration):
        file_ratios.FileRatios(memory=memory)(whole, whole, "latency")


def test_latency_is_the_ratio_of_times_taken_in_turns(monkeypatch):
    """Bytes stand in for times: the smaller file is divided by the whole one."""

    def timed(paths, **settings):
        sizes = [path.stat().st_size for path in paths]
        return [latency.Latency(path=str(path), backend="cpu", threads=1, ratio=size / sizes[0])
                for path, size in zip(paths, sizes, strict=True)]  # fmt: skip

    def write(self, model, path):
        path.write_bytes(bytes(graph.parameters(model)))

    monkeypatch.setattr(latency, "latency", timed)
    monkeypatch.setattr(file_ratios.FileRatios, "_write", write)
    whole, small = tower(), keras.Sequential([keras.Input((40,)), layers.Dense(10)])
    for of in ("latency", "size"):
        assert file_ratios.FileRatios()(whole, small, of) == parameters(whole, small, of)
