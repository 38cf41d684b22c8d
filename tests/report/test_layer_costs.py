import dataclasses

from tests.report.conftest import BITS, COMPRESSED
from tfcompress.report.layer_costs import LayerRow, layer_bars, layer_rows, per_layer
from tfcompress.report.op_times import OpRow, op_rows


@dataclasses.dataclass
class Call:
    name: str
    kind: str = "Conv2D"
    parameters: int = 9
    macs: int = 90


def test_bytes_go_to_the_layer_whose_name_begins_the_parts():
    calls = [
        Call("conv"),
        Call("conv_1"),
        Call("shared"),
        Call("shared", parameters=0),
        Call("conv_1_b"),
    ]
    sizes = {"conv": 1, "conv_in": 2, "conv_1_in": 4, "shared": 8, "conv_1_b": 16, "shape": 32}
    rows = {row["name"]: row for row in per_layer(calls, sizes)}
    assert {name: row["bytes"] for name, row in rows.items()} == {
        "conv": 3,
        "conv_1": 4,
        "shared": 8,
        "conv_1_b": 16,
        "shape": 32,
    }
    assert (rows["shared"]["parameters"], rows["shared"]["macs"]) == (9, 180)
    assert "macs" not in rows["shape"]
    assert sum(row["bytes"] for row in rows.values()) == sum(sizes.values())


def test_layers_of_both_networks_in_order(run):
    assert layer_rows(run()) == [
        LayerRow("conv_1", "Conv2D", (800, 800), (800_000, 800_000)),
        LayerRow("bn_2", "BatchNormalization", (None, 64), (None, 0)),
        LayerRow("conv_2", "Conv2D → BinaryConv2D", (3200, 400), (1_200_000, 200_000)),
        LayerRow("shape", "", (None, 8), (None, None)),
    ]


def test_layers_of_several_files_of_one_network(run):
    result = run(files=[COMPRESSED, BITS])
    sizes = {row.name: row.size_bytes for row in layer_rows(result)}
    assert sizes["conv_2"] == (3200, 400, 50)
    assert sizes["bn_2"] == (None, 64, 8)
    assert {len(row.macs) for row in layer_rows(result)} == {2}
    picture = layer_bars(result)
    assert "conv_2 3.1 and 0.39 and 0.049" in picture.alt
    assert "in baseline and in int8 and in xnor" in picture.alt


def test_ops_by_kind_the_longest_first(run):
    def entry(*ops):
        return {"profile": {"ops": [{"name": name, "ms": ms} for name, ms in ops]}}

    before, after = entry(("A", 1.0), ("B", 2.0), ("A", 2.5)), entry(("C", 3.0), ("B", 0.5))
    assert op_rows(run(benchmarks=[{"profile": None}, {}, before, after])) == [
        OpRow("A", ((2, 3.5), None)),
        OpRow("C", (None, (1, 3.0))),
        OpRow("B", ((1, 2.0), (1, 0.5))),
    ]
    several = run(files=[COMPRESSED, BITS], benchmarks=[before, after, entry(("D", 9.0))])
    assert op_rows(several)[:2] == [
        OpRow("D", (None, None, (1, 9.0))),
        OpRow("A", ((2, 3.5), None, None)),
    ]
    for nothing in ([], [before], [before, entry()], [{}, {}]):
        assert op_rows(run(benchmarks=nothing)) == []
