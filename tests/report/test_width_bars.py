import xml.etree.ElementTree

from tfcompress.report import RunResult, write
from tfcompress.report.width_bars import width_bars

WIDTHS = [
    {"name": "conv_1", "before": 64, "after": 40, "frozen": ""},
    {"name": "conv_2", "before": 64, "after": 64, "frozen": ""},
    {"name": "scores", "before": 10, "after": 10, "frozen": "an output of the model"},
]
MILESTONES = [
    {"name": "baseline", "value": 0.9145},
    {"name": "channels cut out, not repaired", "value": 0.598},
]


def texts(svg):
    return {node.text for node in xml.etree.ElementTree.fromstring(svg).iter() if node.text}


def test_one_bar_a_layer(run):
    picture = width_bars(run(widths=WIDTHS))
    assert {"conv_1", "64 to 40", "64", "10, has to stay"} <= texts(picture.svg)
    assert "conv_1 64 to 40, conv_2 64, scores 10, has to stay" in picture.alt
    assert width_bars(run()) is None


def test_of_very_many_layers_the_widest_are_drawn(run, monkeypatch):
    monkeypatch.setattr("tfcompress.report.width_bars._MOST", 2)
    rows = [{"name": f"n{n}", "before": n, "after": n, "frozen": ""} for n in (3, 1, 2)]
    alt = width_bars(run(widths=rows)).alt
    assert alt.endswith("before and after: n3 3, n2 2. 1 narrower layers aren't drawn.")


def test_pages_and_json_have_widths_and_what_was_reached_on_the_way(run):
    result = run(widths=WIDTHS, milestones=MILESTONES)
    assert RunResult.from_json(result.to_json()).to_json() == result.to_json()
    pages = write.html(result, [width_bars(result)]), write.markdown(result, [])
    for page in pages:
        assert "On the way" in page
        assert "channels cut out, not repaired" in page
        assert "0.5980" in page
    assert "How wide the layers are" in pages[0]
    assert "On the way" not in write.markdown(run(), [])
