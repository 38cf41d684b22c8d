"""Which channels of vgg_small are cut out, by every criterion: accuracy cut, repaired and tuned.

Run:

    nice .venv/bin/python experiments/channel_criteria.py --output=build/channel_criteria

About four minutes for each float network and each tuned one on two busy cores, 23 of these a seed;
a minute for a row that isn't tuned. `--untuned` leaves the tuning out, `--seeds=0` other seeds, and
`--criteria=taylor,l2` other criteria; what is missing is measured by a later call. The networks
train by the recipes of the command, on the embedded images; the accuracy is that of all test
images. The float networks are kept in build/channel_criteria, so that all rows of a seed have the
same one. `scratch` is the shape that taylor leaves, with new weights, trained for as many epochs
as the float network and the tuning together have.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
from float_nets import MODEL, float_net, images
from measurements import Measurements, Row, Step, conduct, parser, single
from page import Page, mean_and_range

from tfcompress import graph, keep_freed_memory, techniques
from tfcompress.config import Training
from tfcompress.techniques._channel_scores import CRITERIA
from tfcompress.training import TrainingContext, accuracy, fit, runner
from tfcompress.training.distill import divergence
from tfcompress.training.evaluate import logits

SEEDS = (0, 1, 2)
RATIOS = (0.5, 0.29)
ROUND_TO = 8  # Finer than the technique's own: widths are the criteria's choice where they differ.
SCRATCH = "scratch"
FLOATS = Path("build/channel_criteria")


def step(criterion: str, ratio: float, seed: int, **settings: Any) -> techniques.Step:
    """Returns the technique with its own recipe, as the command has it."""
    technique = techniques.get("channels")
    options = technique.make_options(
        criterion=criterion, macs_ratio=ratio, criterion_seed=seed, round_to=ROUND_TO, **settings
    )
    return techniques.Step(technique, options, technique.training(options))


def candidate(seed: int) -> techniques.Candidate:
    """Returns the float network with the examples that the command gives."""
    samples = images().representative(techniques.SAMPLES, seed)
    return techniques.Candidate(float_net(FLOATS, seed), samples=samples, data=images())


def judged(model: keras.Model) -> float:
    return accuracy(runner(model), images())


def untuned(criterion: str, ratio: float, seed: int) -> Row:
    """Accuracies of the float network, of what is cut out of it, and after the repair.

    After the repair with the divergence from the float network, which is less a matter of chance.
    """
    net = float_net(FLOATS, seed)
    row = {"float": judged(net)}
    pixels = np.concatenate([x for x, _ in images().batches("test", 256)])
    wanted = logits(net, pixels)
    for name, settings in {
        "cut": {"repair": "none"},
        "repaired": {},
        "repaired, global": {"scope": "global"},
    }.items():
        made = step(criterion, ratio, seed, **settings)
        small = made.technique.transform(candidate(seed), made.options).model
        row[name] = judged(small)
        if name == "repaired":
            found = divergence(logits(small, pixels), wanted, 1.0)
            row["divergence"] = float(keras.ops.mean(found))
        row.setdefault("macs", graph.macs(small) / graph.macs(net))
    return row


def tuned(criterion: str, ratio: float, seed: int) -> Row:
    """Accuracy after the repair and the technique's training."""
    net = float_net(FLOATS, seed)
    context = TrainingContext(seed=seed, teacher=net)
    if criterion == SCRATCH:
        made = step("taylor", ratio, seed)
        shape = made.technique.transform(candidate(seed), made.options).model
        keras.utils.set_random_seed(seed)
        small = graph.clone(shape, keep_weights=False)
        epochs = made.training.epochs + Training().epochs
        fit(small, images(), dataclasses.replace(made.training, epochs=epochs), context)
    else:
        chain = [step(criterion, ratio, seed)]
        small = techniques.apply(candidate(seed), chain, images(), context)[0].model
    return {"tuned": judged(small)}


def steps(seeds: list[int], criteria: list[str], only_untuned: bool) -> list[Step]:
    """Returns what to measure: what isn't tuned first."""
    rows = [
        (f"{criterion}, {ratio}, seed {seed}", criterion, ratio, seed)
        for seed in seeds
        for ratio in RATIOS
        for criterion in criteria
    ]
    first = [single(key, untuned, *each) for key, *each in rows if each[0] != SCRATCH]
    if only_untuned:
        return first
    return [*first, *(single(f"{key}, tuned", tuned, *each) for key, *each in rows)]


def page_of(results: Measurements) -> Page:
    def cell(criterion: str, ratio: float, what: str) -> tuple[str, list[str]]:
        """Writes a mean over seeds, and names the rows that it is of."""
        end = ", tuned" if what == "tuned" else ""
        keys = [f"{criterion}, {ratio}, seed {seed}{end}" for seed in SEEDS]
        keys = [key for key in keys if key in results]
        return mean_and_range([results[key][what] for key in keys]), keys

    kinds = ("cut", "repaired", "divergence", "repaired, global", "tuned")
    rows = []
    for criterion in (*CRITERIA, SCRATCH):
        cells = [cell(criterion, ratio, what) for ratio in RATIOS for what in kinds]
        keys = list(dict.fromkeys(key for _, own in cells for key in own))
        if keys:
            rows.append(([criterion, *(text for text, _ in cells)], keys))
    floats = {key: row["float"] for key, row in results.rows.items() if "float" in row}
    by_seed = {
        seed: value
        for seed in SEEDS
        for key, value in floats.items()
        if key.endswith(f"seed {seed}")
    }
    texts = ", ".join(f"{value:.4f} (seed {seed})" for seed, value in by_seed.items())
    return Page(
        "Criteria for channels",
        f"{MODEL} on the embedded images; accuracy on all {len(images().test)} test images, the "
        f"mean over the seeds that were measured and its range. The float networks have {texts}. "
        "`cut`: nothing is done about what is gone; `repaired`: by least squares; `divergence`: of "
        "the repaired network's classes from the float network's (KL, nats an image); `global`: "
        "all layers' channels are ranked together; `tuned`: repaired, and trained by the recipe of "
        f"the technique. Widths are multiples of {ROUND_TO}, above 64 of {2 * ROUND_TO}. "
        "`scratch` is the shape of taylor with new weights, trained for as long as the float "
        "network and the tuning together.",
        ["criterion", *(f"{ratio} of the MACs, {what}" for ratio in RATIOS for what in kinds)],
        rows,
    )


def main() -> None:
    keep_freed_memory()  # As the command does.
    flags = parser(__doc__)
    flags.add_argument("--untuned", action="store_true", help="trains nothing but float networks")
    flags.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas")
    flags.add_argument("--criteria", default=",".join((*CRITERIA, SCRATCH)), help="with commas")
    given = flags.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    conduct(given, steps(seeds, given.criteria.split(","), given.untuned), page_of, timed=False)


if __name__ == "__main__":
    main()
