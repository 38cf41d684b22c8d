import xml.etree.ElementTree

from tfcompress.report import plots


def texts(svg):
    return [node.text for node in xml.etree.ElementTree.fromstring(svg).iter() if node.text]


def test_both_pictures(run):
    drawn = plots.pictures(run())
    assert [picture.name for picture in drawn] == ["errors", "tradeoff"]
    for picture in drawn:
        assert picture.png.startswith(b"\x89PNG")
        xml.etree.ElementTree.fromstring(picture.svg)
        # Stands alone in the page: nothing of an XML document's head.
        assert picture.inline().startswith("<svg")


def test_what_the_pictures_say(run):
    curves, bars = plots.pictures(run())
    assert {"baseline, test", "baseline, train", "xnor, test", "xnor, train"} <= set(
        texts(curves.svg)
    )
    assert {"35.2", "9.8", "1.00", "0.500", "91.45", "90.85"} <= set(texts(bars.svg))
    assert "xnor, test: 15.33 % at the end" in curves.alt
    assert "latency median, ms: 1.00 and 0.500" in bars.alt


def test_nothing_is_drawn_that_was_not_measured(run):
    result = run(histories={}, file_latency_ms_p50=None)
    (bars,) = plots.pictures(result)
    assert "latency" not in bars.alt
    assert "latency median, ms" not in texts(bars.svg)


def test_curves_skip_gaps_and_number_rows():
    rows = [{"train_error": 0.5}, {"loss": 1.0}, {"train_error": 0.25}]
    assert plots.curve(rows, "train_error") == [(1.0, 50.0), (3.0, 25.0)]
    assert plots.curve(rows, "test_error") == []


def test_one_epoch_and_nan_are_drawn(run):
    one = [{"epoch": 1, "train_error": 0.3, "test_error": float("nan")}]
    curves, _ = plots.pictures(run(histories={"compressed": one}))
    xml.etree.ElementTree.fromstring(curves.svg)
    assert "xnor, test: not a number at the end" in curves.alt


def test_names_are_text_and_never_formulas_or_markup(run):
    curves, bars = plots.pictures(run(technique="a<b>$x^2$&"))
    assert "a<b>$x^2$&, test" in texts(curves.svg)
    assert "a<b>$x^2$&" in texts(bars.svg)


def test_long_names_give_way(run):
    _, bars = plots.pictures(run(technique="cp+prune+cluster+int8"))
    assert "compressed" in texts(bars.svg)


def test_ids_in_a_page_are_unique_and_resolve(run):
    ids, targets = [], set()
    for picture in plots.pictures(run()):
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


def test_the_same_numbers_give_the_same_bytes(run):
    first, second = plots.pictures(run()), plots.pictures(run())
    assert first == second
