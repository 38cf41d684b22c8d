"""The study: what is drawn, kept, tried once more, broken off."""

import collections
import dataclasses
import json

import pytest

from tfcompress.errors import InputError
from tfcompress.metric import Metric
from tfcompress.search.bench import Outcome
from tfcompress.search.budget import Costs, parse_budgets
from tfcompress.search.database import StudyError
from tfcompress.search.engine import Aim, Study, Trial, _suggest, hopeless, usual_goal
from tfcompress.search.session import front, study_name
from tfcompress.search.space import Choice, Space

optuna = pytest.importorskip("optuna")

FLOATS = Costs(size=1000, latency_ratio=1.0, value=0.90)


def aim(*budgets, goal="accuracy", metric=None):
    return Aim(parse_budgets(budgets), goal, FLOATS, metric or Metric())


def trained(*by_epoch, size=100, time=0.5, storage="int8"):
    files = {storage: Costs(size=size, latency_ratio=time, value=by_epoch[-1])}
    return Outcome(state="trained", files=files, by_epoch=by_epoch, epochs=len(by_epoch))


def trial(number, outcome):
    return Trial(number, Choice(f"cp{number}", {}), outcome)


def test_keeps_what_came_of_trials_and_goes_on(tmp_path):
    space = Space.of(["cp", "svd", "prune"])
    wanted = aim("size=0.2")
    study = Study(space, wanted, folder=tmp_path)
    study.run_one(lambda choice: trained(0.7, 0.8))
    study.run_one(lambda choice: Outcome(state="impossible", reason="it has no layers"))
    later = Study(space, wanted, folder=tmp_path)
    later.run_one(lambda choice: trained(0.9, size=300))
    trials = later.trials()
    assert [each.outcome.state for each in trials] == ["trained", "impossible", "trained"]
    assert trials[0].outcome == trained(0.7, 0.8)
    assert len({str(each.choice) for each in trials}) == 3  # Nothing is tried twice.


def test_the_draws_follow_from_the_seed(tmp_path):
    drawn = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        study = Study(Space.of(), aim(), folder=tmp_path / name, seed=3)
        for _ in range(3):
            study.run_one(lambda choice: trained(0.8))
        drawn.append([str(each.choice) for each in study.trials()])
    assert drawn[0] == drawn[1]


def test_what_is_queued_is_tried_next_and_once(tmp_path):
    study = Study(Space.of(["cp", "prune"]), aim(), folder=tmp_path)
    wanted, seen = Choice("cp+prune", {"cp.macs_ratio": 0.3, "prune.final_sparsity": 0.7}), []
    for _ in range(2):
        study.queue(wanted)
    for _ in range(3):
        study.run_one(lambda choice: (seen.append(str(choice)), trained(0.8))[1])
        study.queue(wanted)
    assert seen[0] == str(wanted)
    assert len(set(seen)) == 3


def test_a_chain_that_was_impossible_twice_is_given_up(tmp_path):
    study = Study(Space.of(["cp", "xnor"]), aim(), folder=tmp_path)

    def try_out(choice):
        if choice.chain == "cp+xnor":
            return Outcome(state="impossible", reason="nothing is left for xnor")
        return trained(0.8)

    for _ in range(9):  # Of 16 choices.
        study.run_one(try_out)
    chains = collections.Counter(each.choice.chain for each in study.trials())
    assert chains["cp+xnor"] <= 2
    assert sum(chains.values()) == 9


def test_a_trial_of_a_dead_process_is_tried_once_more(tmp_path):
    space = Space.of(["cp", "prune"])
    study = Study(space, aim(), folder=tmp_path, worker="dead")

    def killed(choice):
        raise SystemError(str(choice))  # Optuna lets it through, as a kill would end the process.

    with pytest.raises(SystemError) as error:
        study.run_one(killed)
    running = study._study.ask()
    running.set_user_attr("worker", "dead")
    first = space.draw(lambda name, values: _suggest(running, name, values))
    other = Study(space, aim(), folder=tmp_path, worker="alive")
    other.retry_abandoned(lambda name: name == "dead")
    assert running.number not in [each.number for each in other.trials()]
    other.retry_abandoned(lambda name: False)
    seen = []
    other.run_one(lambda choice: (seen.append(choice), trained(0.8))[1])
    assert seen == [first]
    assert str(error.value)


def test_a_trial_that_a_database_has_tried_again_is_tried(tmp_path, monkeypatch):
    """As a draw begins, a dead machine's trial fails and a copy of it is queued."""
    study = Study(Space.of(["cp", "prune"]), aim(), folder=tmp_path)
    dead = study._study.ask()
    choice = study._space.draw(lambda name, values: _suggest(dead, name, values))
    stored = {"chain": choice.chain, "options": dict(choice.options)}
    dead.set_user_attr("choice", json.dumps(stored))
    optimize = study._study.optimize

    def after_a_look_at_heartbeats(*arguments, **keywords):
        if dead.number == len(study._study.trials) - 1:
            study._study.tell(dead.number, state=optuna.trial.TrialState.FAIL)
            study._study.enqueue_trial(dead.params, {"choice": json.dumps(stored)})
        optimize(*arguments, **keywords)

    monkeypatch.setattr(study._study, "optimize", after_a_look_at_heartbeats)
    seen = []
    study.run_one(lambda choice: (seen.append(choice), trained(0.8))[1])
    assert seen == [choice]


def test_a_database_that_is_lost_is_one_line_and_the_study_goes_on(tmp_path):
    """What SQLAlchemy says when a server goes away, raised at each statement."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = Study(Space.of(["cp", "prune"]), aim(), folder=tmp_path, url=url)
    study.run_one(lambda choice: trained(0.7))
    storage = study._study._storage._backend

    def lost(*arguments):
        words = "server closed the connection unexpectedly\n\tThis probably means ..."
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception(words))

    def tried(choice):
        sqlalchemy.event.listen(storage.engine, "before_cursor_execute", lost)
        storage.record_heartbeat(1)  # A beat that is missed ends nothing.
        return trained(0.8)

    with pytest.raises(StudyError, match=r"^the study's database fails \(.*server closed") as error:
        study.run_one(tried)
    assert "\n" not in str(error.value)
    with pytest.raises(StudyError):
        study.trials()
    sqlalchemy.event.remove(storage.engine, "before_cursor_execute", lost)
    later = Study(Space.of(["cp", "prune"]), aim(), folder=tmp_path, url=url)
    later.run_one(lambda choice: trained(0.9))
    assert [each.outcome for each in later.trials()] == [trained(0.7), trained(0.9)]


def test_two_processes_dont_try_the_same(tmp_path):
    space = Space.of(["qat"])
    studies = [Study(space, aim(), folder=tmp_path) for _ in range(2)]
    drawn = []

    def outer(choice):
        drawn.append(str(choice))
        studies[1].run_one(lambda other: (drawn.append(str(other)), trained(0.8))[1])
        return trained(0.8)

    studies[0].run_one(outer)
    assert sorted(drawn) == ["baseline", "qat"]


def test_says_when_all_was_tried(tmp_path):
    study = Study(Space.of(["qat"]), aim(), folder=tmp_path)
    study.run_one(lambda choice: trained(0.8))
    study.run_one(lambda choice: trained(0.8))
    with pytest.raises(InputError, match=r"nothing new.*more techniques, or fewer trials"):
        study.run_one(lambda choice: trained(0.8))


def test_a_network_that_wasnt_trained_to_the_end_is_worth_what_was_seen_last():
    untrained = {"int8": Costs(size=100)}
    stopped = Outcome(state="stopped", untrained=untrained, repaired=0.3, by_epoch=(0.5, 0.6))
    assert stopped.comparable() == {"int8": Costs(size=100, value=0.6)}
    over = Outcome(state="over", untrained=untrained, repaired=0.3)
    assert over.comparable()["int8"].value == 0.3


def test_the_best_file_keeps_the_budgets_first():
    files = {
        "small": Costs(size=90, latency_ratio=0.9, value=0.80),
        "fast": Costs(size=300, latency_ratio=0.2, value=0.89),
        "right": Costs(size=190, latency_ratio=0.5, value=0.85),
    }
    assert aim("size=0.2").best(files) == "right"
    assert aim("size=0.2", goal="size").best(files) == "small"
    assert aim("latency=0.6", goal="latency").best(files) == "fast"
    assert aim("size=0.05").best(files) == "small"  # None keeps it: the nearest.
    assert aim("drop=1").best(files) == "fast"
    assert usual_goal(parse_budgets(["drop=1", "size=0.1"])) == "size"
    assert usual_goal(parse_budgets(["size=0.1"])) == "accuracy"


def test_the_front_by_hand():
    trials = [
        trial(0, trained(0.80, size=50, time=0.5)),
        trial(1, trained(0.85, size=100, time=0.4)),
        trial(2, trained(0.84, size=100, time=0.6)),  # Beaten by 1.
        trial(3, trained(0.89, size=400, time=0.1)),  # Over the budget.
        trial(4, trained(0.70, size=90, time=0.2)),
        trial(5, Outcome(state="over")),
    ]
    assert [each.trial for each in front(trials, aim("size=0.2"))] == [1, 0, 4]
    # As accurate as 1, smaller and slower: it comes before.
    trials.append(trial(6, trained(0.85, size=60, time=0.45)))
    assert [each.trial for each in front(trials, aim("size=0.2"))] == [6, 1, 0, 4]


def test_breaks_off_what_no_training_has_made_good():
    wanted = aim("drop=1")  # 0.89 is needed.
    ended = [trial(n, trained(0.70 + n / 100, 0.80, 0.86, 0.87)) for n in range(3)]
    # From a quarter of the epochs on the best gained 0.17, from a half 0.07.
    assert not hopeless(ended, wanted, [0.72], 4)
    assert hopeless(ended, wanted, [0.71], 4)
    assert hopeless(ended, wanted, [0.72, 0.81], 4)
    assert not hopeless(ended[:2], wanted, [0.1], 4)
    assert not hopeless(ended, wanted, [0.1], 10)  # A tenth of the training is too early.
    assert not hopeless(ended, aim("size=0.2", goal="size"), [0.1], 4)
    # By a standard error of 0.02 it may be as good on other examples.
    assert not hopeless(ended, dataclasses.replace(wanted, noise=0.02), [0.71], 4)
    # Without a budget of accuracy what would be no better than the best isn't wanted.
    assert hopeless(ended, aim("size=0.2"), [0.6], 4)


def test_breaks_off_likewise_where_less_is_better():
    metric = Metric(name="mae", higher_is_better=False, share=False)
    wanted = Aim(parse_budgets(["drop=10"]), "size", Costs(size=9, value=2.0), metric)
    ended = [trial(n, trained(4.0, 3.0)) for n in range(3)]
    assert not hopeless(ended, wanted, [3.1], 2)  # 3.1 - 1.0 is below 2.2.
    assert hopeless(ended, wanted, [3.3], 2)


def test_a_study_holds_times_of_one_class_of_processors(tmp_path):
    space = Space.of(["cp", "prune"])
    Study(space, aim(), folder=tmp_path, processor="AVX2, VNNI").run_one(lambda _: trained(0.8))
    again = Study(space, aim(), folder=tmp_path, processor="AVX2, VNNI")
    assert again._study.get_trials()[0].user_attrs["processor"] == "AVX2, VNNI"
    with pytest.raises(InputError, match="with AVX2, VNNI, and this one has NEON: they can't be"):
        Study(space, aim(), folder=tmp_path, processor="NEON")


def test_searches_for_something_else_are_other_studies():
    space = Space.of(["cp", "prune"])
    same = study_name(space, aim("size=0.5"), {"epochs": 2})
    assert same == study_name(space, aim("size=0.5"), {"epochs": 2})
    larger = dataclasses.replace(aim("size=0.5"), floats=dataclasses.replace(FLOATS, size=1001))
    others = [
        study_name(space, aim("size=0.4"), {"epochs": 2}),
        study_name(space, aim("size=0.5", goal="size"), {"epochs": 2}),
        study_name(space, aim("size=0.5"), {"epochs": 3}),
        study_name(Space.of(["cp"]), aim("size=0.5"), {"epochs": 2}),
        study_name(space, larger, {"epochs": 2}),
    ]
    assert len({same, *others}) == 6
