"""Ops and files that are made by hand, for rules that look at nothing else."""

from tfcompress.tflite.content import FileContent, Op, Tensor


def tensor(dtype="float32", *, constant=False, shape=(1, 4), scales=0, name="t"):
    return Tensor(name, dtype, shape, constant, 16 if constant else 0, scales > 0, scales)


def op(name, *inputs, version=1, subgraph=0, folded=False, output="out"):
    return Op(name, version, inputs, (tensor(name=output),), subgraph, folded, 0)


def content(*ops):
    return FileContent("m.tflite", ops, (tensor(name="image"),), (), 0, (), {}, 0)
