"""Makes `.keras` files as a stranger would: a small model, with anything else in its archive."""

import json
import zipfile

import keras


def small_model():
    inputs = keras.Input((4,), name="i")
    return keras.Model(inputs, keras.layers.Dense(3, name="d")(inputs))


def changed(path, change, target):
    """Writes a `.keras` file with its configuration changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"])
                content = json.dumps(config)
            new.writestr(name, content)
    return str(target)


def layer(kind, module="keras.layers", inputs=None, **settings):
    """A layer's entry, called on plain values while the model is made."""
    nodes = [] if inputs is None else [{"args": [], "kwargs": {"inputs": inputs}}]
    return {
        **{"module": module, "class_name": kind, "name": "x", "registered_name": None},
        **{"config": {"name": "x", **settings}, "inbound_nodes": nodes},
    }


def function(name, module):
    """The entry of a function that Keras is to look up."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}
