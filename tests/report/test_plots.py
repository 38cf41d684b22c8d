import xml.etree.ElementTree

import pytest

from tfcompress.report import layer_costs, pareto, plots


def texts(svg):
    return [node.text for node in xml.etree.ElementTree.fromstring(svg).iter() if node.text]


def test_all_pictures(drawn):
    assert [picture.name for picture in drawn] == ["errors", "tradeoff", "pareto", "layers"]
    for picture in drawn:
        assert picture.png.startswith(b"\x89PNG")
        xml.etree.ElementTree.fromstring(picture.svg)
        # Stands alone in the page: nothing of an XML document's head.
        assert picture.inline().startswith("<svg")


def test_what_the_pictures_say(drawn):
    curves, bars, costs, layers = drawn
    assert {"baseline, test", "baseline, train", "xnor, test", "xnor, train"} <= set(
        texts(curves.svg)
    )
    assert {"35.2", "9.8", "1.00", "0.500", "91.45", "90.85"} <= set(texts(bars.svg))
    assert "xnor, test: 15.33 % at the end" in curves.alt
    assert "latency median, ms: 1.00 and 0.500" in bars.alt
    assert {"baseline", "xnor", "file size, KiB", "latency median, ms"} <= set(texts(costs.svg))
    assert "the cheapest, xnor (9.766, 90.85 %), baseline (35.16, 91.45 %)" in costs.alt
    assert {"conv_1", "conv_2", "KiB in the file", "MACs, million"} <= set(texts(layers.svg))
    assert "conv_2 3.1 and 0.39" in layers.alt
    assert "conv_2 1.2 and 0.2" in layers.alt


def test_nothing_is_drawn_that_was_not_measured(run):
    result = run(histories={}, file_latency_ms_p50=None, baseline_layers=(), file_layers=())
    bars, costs = plots.pictures(result)
    for picture in (bars, costs):
        assert "latency" not in picture.alt
        assert "latency median, ms" not in texts(picture.svg)
    no_macs = [{"name": "conv_1", "kind": "Conv2D", "bytes": 800}]
    layers = layer_costs.layer_bars(run(baseline_layers=no_macs, file_layers=no_macs))
    assert "MACs" not in layers.alt


def test_curves_skip_gaps_and_number_rows():
    rows = [{"train_error": 0.5}, {"loss": 1.0}, {"train_error": 0.25}]
    assert plots.curve(rows, "train_error") == [(1.0, 50.0), (3.0, 25.0)]
    assert plots.curve(rows, "test_error") == []


def test_one_epoch_and_nan_are_drawn(run):
    one = [{"epoch": 1, "train_error": 0.3, "test_error": float("nan")}]
    curves = plots.error_curves(run(histories={"compressed": one}))
    xml.etree.ElementTree.fromstring(curves.svg)
    assert "xnor, test: not a number at the end" in curves.alt


def test_names_are_text_and_never_formulas_or_markup(run):
    evil = "a<b>$x^2$&"
    layer = [{"name": evil, "kind": evil, "macs": 1, "bytes": 1}]
    curves, *others = plots.pictures(run(technique=evil, baseline_layers=layer, file_layers=layer))
    assert f"{evil}, test" in texts(curves.svg)
    for picture in others:
        assert evil in texts(picture.svg)


def test_long_names_give_way(run):
    assert "compressed" in texts(plots.cost_bars(run(technique="cp+prune+cluster+int8")).svg)


def test_ids_in_a_page_are_unique_and_resolve(drawn):
    ids, targets = [], set()
    for picture in drawn:
        for node in xml.etree.ElementTree.fromstring(picture.inline()).iter():
            for key, value in node.attrib.items():
                if key == "id":
                    ids.append(value)
                if key.endswith("href"):
                    targets.add(value.removeprefix("#"))
                if value.startswith("url(#"):
                    targets.add(value[5:-1])
    assert len(ids) == len(set(ids))
    assert targets
    assert targets <= set(ids)


def test_the_same_numbers_give_the_same_bytes(drawn, run):
    assert plots.pictures(run()) == drawn


@pytest.fixture
def figures(monkeypatch):
    """Leaves figures as they are, so that what was drawn can be asked for."""
    for module in (plots, layer_costs, pareto):
        monkeypatch.setattr(module, "render_figure", lambda name, alt, figure: figure)


def widths(axes):
    """The lengths of the axes' bars, the upper one first."""
    bars = sorted(axes.patches, key=lambda bar: bar.get_y())
    return [pytest.approx(bar.get_width()) for bar in bars]


def test_bars_are_as_long_as_what_was_measured(run, figures):
    size, latency, accuracy = plots.cost_bars(run()).axes
    assert widths(size) == [36_000 / 1024, 10_000 / 1024]
    assert widths(latency) == [1.0, 0.5]
    assert widths(accuracy) == [91.45, 90.85]
    for axes in (size, latency, accuracy):
        assert [text.get_text() for text in axes.get_yticklabels()] == ["baseline", "xnor"]
        assert axes.yaxis_inverted()


def test_layers_bars_stand_before_above_after(run, figures):
    sizes, macs = layer_costs.layer_bars(run()).axes
    # conv_1, bn_2, conv_2, shape: before and after each.
    assert widths(sizes) == [n / 1024 for n in (800, 800, 0, 64, 3200, 400, 0, 8)]
    # conv_1 and conv_2.
    assert widths(macs) == [0.8, 0.8, 1.2, 0.2]


def test_points_are_where_what_was_measured_is(run, figures):
    size, latency = plots.cost_points(run()).axes
    for axes, costs in ((size, (36_000 / 1024, 10_000 / 1024)), (latency, (1.0, 0.5))):
        baseline, compressed, front = axes.lines
        assert (*baseline.get_xdata(), *baseline.get_ydata()) == pytest.approx((costs[0], 91.45))
        assert (*compressed.get_xdata(), *compressed.get_ydata()) == pytest.approx(
            (costs[1], 90.85)
        )
        # Neither file beats the other.
        assert list(front.get_xdata()) == pytest.approx(sorted(costs))


def test_curves_are_the_errors_in_percent(run, figures):
    (axes,) = plots.error_curves(run()).axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["baseline, test", "baseline, train", "xnor, test", "xnor, train"]
    assert list(lines["xnor, train"].get_xdata()) == [1, 2, 3]
    assert list(lines["xnor, train"].get_ydata()) == pytest.approx([40, 20, 40 / 3])
    assert list(lines["baseline, test"].get_ydata()) == pytest.approx([32, 17, 12])
