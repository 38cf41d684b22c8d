"""What a run does with its seed, its images and its times, against the same steps by hand."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import CLASSES, draw
from tfcompress import models, techniques, training
from tfcompress.benchmark import FileBenchmark
from tfcompress.config import RunConfig
from tfcompress.pipeline import exporting, inputs, stages
from tfcompress.pipeline.plan import plan
from tfcompress.techniques import SAMPLES
from tfcompress.training import TrainingContext

SEED = 7
# More than calibrations take, so that some are left to compare files on.
TRAINING_IMAGES = SAMPLES + 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(1)
    for split, count in (("train", TRAINING_IMAGES // 2), ("test", 4)):
        for kind in CLASSES:
            (root / split / kind).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(kind, rng)).save(root / split / kind / f"{number}.png")
    return root


def measured(paths, **settings):
    """Times whose interleaved ratio isn't the quotient of their medians, on two backends."""
    return [
        FileBenchmark(
            path=str(path),
            backend=backend,
            threads=1,
            size_bytes=1,
            gzip_bytes=1,
            macs=None,
            latency_ms_p50=median,
            latency_ms_p90=2 * median,
            latency_runs=20,
            ratio=ratio,
            ratio_p10=ratio and ratio - 0.01,
            ratio_p90=ratio and ratio + 0.01,
        )
        for backend, ratios in (("cpu", (1.0, 0.4)), ("cpu-noxnn", (1.0, 0.7)))
        for path, median, ratio in zip(paths, (8.0, 2.0), ratios, strict=True)
    ]


@dataclasses.dataclass
class Finished:
    job: object
    result: object
    exports: list


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
    """A run with a seed that isn't 0, and what each of its exports was given."""
    exports = []

    def export(model, path, **settings):
        exports.append(settings)
        return real(model, path, **settings)

    real = exporting.export
    job = plan(
        RunConfig(
            technique="svd",
            dataset=f"folder:{folder}",
            image_size=16,
            epochs=1,
            batch_size=64,
            seed=SEED,
            options={"width": "0.25"},
            benchmark=("cpu", "cpu-noxnn"),
            output_dir=str(tmp_path_factory.mktemp("run") / "out"),
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "export", export)
        patch.setattr("tfcompress.benchmark.measure", measured)
        result = stages.run(job)
    return Finished(job, result, exports)


def by_hand(job, seed):
    """The weights of both networks, by the steps that the run is made of."""
    keras.utils.set_random_seed(seed)
    images = inputs.load_data(job, None)
    model = models.build("vgg_small", (16, 16, 3), 2, **job.model_options)
    training.fit(model, images, job.baseline, TrainingContext(seed=seed))
    candidate, _ = techniques.apply(
        techniques.Candidate(model),
        job.steps,
        images,
        TrainingContext(seed=seed, teacher=model),
    )
    return model.get_weights(), candidate.model.get_weights()


def test_the_seed_decides_on_both_networks(finished):
    saved = [
        keras.saving.load_model(finished.job.output_dir / f"{name}.keras").get_weights()
        for name in ("baseline", "compressed")
    ]
    for got, expected in zip(saved, by_hand(finished.job, SEED), strict=True):
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_builders_weights_follow_from_the_seed(finished):
    first = {}
    for seed in (0, SEED):
        config = dataclasses.replace(finished.job.config, seed=seed)
        model, _ = inputs.load(dataclasses.replace(finished.job, config=config))
        keras.utils.set_random_seed(seed)
        expected = models.build("vgg_small", (16, 16, 3), 2, **finished.job.model_options)
        first[seed] = model.get_weights()[0]
        np.testing.assert_array_equal(first[seed], expected.get_weights()[0])
    assert not np.array_equal(first[0], first[SEED])


def test_files_are_compared_on_other_images_than_they_were_calibrated_on(finished):
    _, images = inputs.load(finished.job)
    pool = images.representative(TRAINING_IMAGES, SEED)
    assert len(finished.exports) == 2
    for settings in finished.exports:
        np.testing.assert_array_equal(settings["calibration"], pool[:SAMPLES])
        np.testing.assert_array_equal(settings["representative"], pool[SAMPLES:])
    assert len(pool[SAMPLES:]) == 24


def test_the_latency_ratio_is_the_interleaved_one_of_the_first_backend(finished):
    result = finished.result
    assert (result.baseline.latency_ms_p50, result.compressed.latency_ms_p50) == (8.0, 2.0)
    assert result.ratio["latency"] == 0.4
    assert result.compressed.latency_ratio_p10 == pytest.approx(0.39)
    assert result.compressed.latency_ratio_p90 == pytest.approx(0.41)
    entries = [(entry["backend"], Path(entry["path"]).stem) for entry in result.benchmarks]
    titles = ("baseline", "compressed")
    assert entries == [(backend, title) for backend in ("cpu", "cpu-noxnn") for title in titles]
