import xml.etree.ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcompress.report.pareto import Point, front, tradeoffs

COSTS = st.integers(1, 6).map(float)
SHARES = st.integers(0, 6).map(lambda value: value / 6)


def point(cost, accuracy, label="p", baseline=False):
    return Point(label, label, cost, accuracy, baseline)


@given(st.lists(st.builds(point, COSTS, SHARES), max_size=12))
def test_nothing_beats_the_front_and_it_beats_the_rest(points):
    def beats(a, b):
        better = a.cost < b.cost or a.accuracy > b.accuracy
        return better and a.cost <= b.cost and a.accuracy >= b.accuracy

    best = front(points)
    unbeaten = {
        (p.cost, p.accuracy) for p in points if not any(beats(other, p) for other in points)
    }
    assert {(p.cost, p.accuracy) for p in best} == unbeaten
    assert len(best) == len(unbeaten)
    assert [p.cost for p in best] == sorted(p.cost for p in best)


@pytest.mark.filterwarnings("error")
def test_far_costs_stand_on_a_logarithmic_axis():
    points = [point(cost, 0.9 + cost / 1e5, str(cost)) for cost in (1, 20, 900)]
    svg = tradeoffs([("far, ms", points), ("near, ms", [point(3, 0.5), point(4, 0.5)])]).svg
    texts = {node.text for node in xml.etree.ElementTree.fromstring(svg).iter()}
    assert {"10", "100", "far, ms", "near, ms", "900"} <= texts
    assert not any(text and "mathdefault" in text for text in texts)


def test_labels_of_near_points_stand_apart():
    points = [point(10 + at / 50, 0.9 + at / 5000, f"n{at}") for at in range(4)]
    far = point(20, 0.95, "far")
    root = xml.etree.ElementTree.fromstring(tradeoffs([("ms", [*points, far])]).svg)
    places = set()
    for node in root.iter():
        if node.text and node.text.startswith("n"):
            places.add(node.attrib.get("transform") or (node.attrib["x"], node.attrib["y"]))
    assert len(places) == 4
