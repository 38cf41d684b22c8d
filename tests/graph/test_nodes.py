import pathlib
import re

import keras
import pytest
from keras import layers, ops

import tfcompress
from tfcompress.graph import nodes

PACKAGE = pathlib.Path(tfcompress.__file__).parent
PRIVATE = re.compile(
    r"\b(_nodes_by_depth|_inbound_nodes|_outbound_nodes|_keras_history|_inputs_struct"
    r"|_outputs_struct|_operations_by_depth|fill_in)\b|\._functional\b"
)


def test_no_other_module_touches_keras_private_graph():
    """One place to mend when Keras changes what it doesn't promise."""
    touching = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(PRIVATE.search(line) for line in path.read_text().splitlines())
    }
    assert touching == {"graph/nodes.py"}


def two_calls():
    x = inputs = keras.Input((4,), name="x")
    dense = layers.Dense(4, name="dense")
    return inputs, keras.Model(x, ops.relu(dense(dense(x))))


def test_producers_come_once_for_each_call():
    inputs, model = two_calls()
    kinds = [type(operation).__name__ for operation in nodes.producers(model.output)]
    assert kinds == ["Relu", "Dense", "Dense", "InputLayer"]
    assert nodes.producer(inputs).name == "x"
    assert list(nodes.producers([])) == []


def test_every_node_has_the_inputs_that_nodes_leaves_out():
    _, model = two_calls()
    assert next(nodes.every_node(model)).operation.name == "x"
    assert [node.operation.name for node in nodes.nodes(model)][:2] == ["dense", "dense"]
    assert len(list(nodes.every_node(model))) == len(list(nodes.nodes(model))) + 1 == 4


@pytest.mark.parametrize("structure", [list, dict])
def test_input_structure_is_the_models(structure):
    tensors = {"left": keras.Input((4,), name="left"), "right": keras.Input((4,), name="right")}
    inputs = tensors if structure is dict else [tensors["right"], tensors["left"]]
    model = keras.Model(inputs, layers.Add()(list(tensors.values())))
    assert nodes.input_structure(model) == inputs


def test_what_is_nested_and_what_is_symbolic():
    inputs, model = two_calls()
    inside = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert nodes.is_nested(model)
    assert nodes.is_nested(inside)
    assert nodes.has_nodes(model)
    assert not nodes.has_nodes(inside)  # The functional model in it has them.
    assert not nodes.is_nested(layers.Dense(2))
    assert nodes.is_symbolic(inputs)
    assert not nodes.is_symbolic(ops.ones(3))
