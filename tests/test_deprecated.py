"""Old public names work for one more version, and say what to write instead."""

import importlib

import pytest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tfcompress.config.InputError", "tfcompress.errors.InputError"),
        ("tfcompress.config.ExportError", "tfcompress.errors.ExportError"),
        ("tfcompress.door.compress", "tfcompress.api.compress"),
        ("tfcompress.door.transform", "tfcompress.api.transform"),
        ("tfcompress.runtime.FileContent", "tfcompress.tflite.content.FileContent"),
        ("tfcompress.runtime.Op", "tfcompress.tflite.content.Op"),
        ("tfcompress.runtime.Tensor", "tfcompress.tflite.content.Tensor"),
        ("tfcompress.runtime.read", "tfcompress.tflite.content.read"),
        ("tfcompress.webbench.make", "tfcompress.webbench.page.make_page"),
        ("tfcompress.kernels.unused", "tfcompress.kernels.load.report_unused"),
    ],
)
def test_old_names_find_the_new_ones(old, new):
    def value(dotted):
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)

    with pytest.warns(DeprecationWarning, match=f"{old} is {new} now"):
        found = value(old)
    assert found is value(new)


def test_other_names_are_no_attributes():
    with pytest.raises(AttributeError, match="has no attribute 'nme'"):
        importlib.import_module("tfcompress.runtime").nme  # noqa: B018
