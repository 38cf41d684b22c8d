"""The best choices' runs on all training examples."""

import json

import numpy as np

from tests.pipeline.test_stages import config
from tfcompress import models
from tfcompress.search import command, finalists
from tfcompress.search.budget import Costs
from tfcompress.search.session import Found
from tfcompress.search.settings import SearchSettings
from tfcompress.search.space import Choice
from tfcompress.techniques import Candidate


def test_choices_share_the_float_network(picture_folder, tmp_path):
    plain, pruned = Choice("", {}), Choice("prune", {"prune.final_sparsity": 0.5})
    found = [
        Found(0, plain, "int8", Costs()),
        Found(0, plain, "float16", Costs()),
        Found(1, pruned, "int8", Costs()),
    ]
    settings = SearchSettings(
        budget=("size=1",), config=config(picture_folder, None, epochs=1), finalists=2, seeds=1
    )
    done = finalists.run(found, settings, tmp_path)
    assert [each.found for each in done] == [found[0], found[2]]
    first, second = (each.folders[0] for each in done)
    weights = [models.load(str(f / "baseline.keras")).get_weights() for f in (first, second)]
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    histories = [json.loads((f / "report.json").read_text())["histories"] for f in (first, second)]
    # Of one training: the seconds of its epochs are the same, too.
    assert histories[0]["baseline"] == histories[1]["baseline"] != []
    left = {path.name for path in (tmp_path / "finalists").iterdir()}
    assert left == {first.parent.name, second.parent.name}


def test_a_trials_file_has_the_bytes_of_a_finalists(picture_folder, tmp_path):
    """What a run's file says of itself has bytes, too."""
    settings = SearchSettings(
        budget=("size=1",), config=config(picture_folder, None, epochs=0), finalists=1, seeds=1
    )
    searcher, task = command._session(command._job(settings), settings, tmp_path)
    bench = searcher.bench
    samples = task.data.representative(100, 0)
    costs = bench.weighed(Candidate(bench.model), ["float16"], samples, chain="", kinds=())
    [done] = finalists.run([Found(0, Choice("", {}), "float16", Costs())], settings, tmp_path)
    floats, file = done.costs(0)
    assert bench.floats.size == floats.size
    assert costs["float16"].size == file.size
