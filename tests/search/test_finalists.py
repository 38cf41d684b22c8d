"""The best choices' runs on all training examples."""

import json

import numpy as np

from tests.pipeline.test_stages import config
from tfcompress import models
from tfcompress.search import finalists
from tfcompress.search.budget import Costs
from tfcompress.search.session import Found
from tfcompress.search.settings import SearchSettings
from tfcompress.search.space import Choice


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
