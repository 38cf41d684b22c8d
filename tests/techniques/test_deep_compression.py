import keras
import numpy as np
import pytest

import tfcompress
from tests.api.nets import small_net, table
from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.config import Training
from tfcompress.container import archive
from tfcompress.errors import InputError
from tfcompress.training import TrainingContext

# Batch normalisation is folded in the second round only.
PARAMETERS = PLAIN

TECHNIQUE = techniques.get("deep_compression")
SETTINGS = Training(epochs=3, batch_size=16, learning_rate=1e-3)


def rounds_of(model, **options):
    own = TECHNIQUE.make_options(**options)
    return TECHNIQUE.rounds(techniques.Candidate(model), own, SETTINGS)


def test_two_rounds_by_kind_of_layer(small):
    (pruning, first), (sharing, second) = rounds_of(
        small(), sparsities=("conv1:0.16",), bits=("conv3:6",)
    )
    assert dict(text.split(":") for text in pruning.layers) == {
        "conv1": "0.16",
        "conv2": "0.65",
        "conv3": "0.65",
        "logits": "0.91",
    }
    assert dict(text.split(":") for text in sharing.layers) == {
        "conv1": "256",
        "conv2": "256",
        "conv3": "64",
        "logits": "32",
    }
    assert sharing.centroids == "linear"
    assert first == SETTINGS
    assert (second.epochs, second.learning_rate) == (2, pytest.approx(1e-4))
    (pruning, _), (sharing, _) = rounds_of(small(), final_sparsity=0.5, leave=("conv1",))
    assert {text.split(":")[1] for text in pruning.layers} == {"0.5"}
    assert sharing.leave == ("conv1",)


def test_the_file_has_zeros_and_few_values_and_its_container_is_small(small, data, tmp_path):
    model = small()
    made = tfcompress.compress(
        model, "deep_compression", data, epochs=2, batch_size=16, verbose=False, conv_bits=4
    )
    kept = {"conv1": 0.35, "conv2": 0.35, "conv3": 0.35, "logits": 0.09}
    layers = {layer.name: layer for layer in made.layers}
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in made.layers)
    for name, share in kept.items():
        values = np.asarray(layers[name].kernel)
        assert np.mean(values != 0) <= share + 0.02, name
        assert len(np.unique(values)) <= (32 if name == "logits" else 16), name
    path = tmp_path / "m.tflite"
    tfcompress.export(made, path, representative=data.representative(8))
    before, size = archive.pack(path, tmp_path / "m.tfz")
    found, parts = archive.unpack_bytes((tmp_path / "m.tfz").read_bytes())
    assert found == path.read_bytes()
    # Kernels: in place of 32 bits a weight, about one for where it is and some for its value.
    for part in parts:
        if part.values > 300:
            assert 0 < part.table_values <= 32
            assert 8 * part.value_bytes < 4 * part.values
    assert size < before / 2


def test_a_compiled_model_shares_its_values_at_a_tenth_of_its_own_rate():
    x, y = table()
    model = small_net()
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    rates = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: rates.append(float(watch.model.optimizer.learning_rate))
    )
    small = tfcompress.compress(
        model, "deep_compression", (x, y), epochs=2, callbacks=watch, verbose=False
    )
    assert rates == pytest.approx([0.01, 0.01, 0.001])
    assert float(small.optimizer.learning_rate) == pytest.approx(0.01)


def test_zeros_survive_the_second_round_exactly(small, data):
    candidate = techniques.Candidate(small())
    own = TECHNIQUE.make_options()
    step = techniques.Step(TECHNIQUE, own, Training(epochs=1, batch_size=16))
    pruned = []

    def round_context(context, title, candidate, training):
        pruned.append(candidate.model)
        return context

    after, rows = techniques.apply(
        candidate,
        [step],
        data,
        TrainingContext(teacher=candidate.model),
        round_context=round_context,
    )
    # The second round's model, before it is trained, has the first one's zeros.
    for layer in pruned[1].layers:
        if layer.name in ("conv2", "conv3", "logits"):
            zeros = np.asarray(layer.kernel) == 0
            assert zeros.mean() > 0.6
            now = np.asarray(after.model.get_layer(layer.name).kernel)
            assert np.all(now[zeros] == 0)
    assert after.properties == {"sparsity", "clusters"}
    assert [row["epoch"] for row in rows] == [1, 2]
    actions = {(line.name, line.action) for line in after.layers}
    assert {("conv2", "pruned"), ("conv2_bn", "folded"), ("conv2", "clustered")} <= actions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv_sparsity": 1.0}, r"conv_sparsity must be a share of zeros in \(0, 1\); got 1.0"),
        ({"dense_bits": 9}, "dense_bits must be 1 to 8; got 9"),
        ({"centroids": "even"}, "centroids takes one of"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**{key: str(value) for key, value in options.items()})


def test_what_fits_no_layer_is_refused_before_the_training(small):
    for options, message in (
        ({"bits": ("conv9:4",)}, "no layer is named 'conv9'"),
        ({"bits": ("conv2:x",)}, "conv2 takes a whole number; got 'x'"),
        ({"sparsities": ("conv9:0.5",)}, "no layer is named 'conv9'"),
    ):
        with pytest.raises(InputError, match=message):
            TECHNIQUE.check(techniques.Candidate(small()), TECHNIQUE.make_options(**options))
