"""Whole files with something wrong, run by the stock interpreter with the kernels, in processes of
their own: each must run or be refused.

    python -m tests.kernels.mutants LIBRARY FIRST COUNT [options]

prints as JSON how many ran, were refused, took too long, or killed their process. Where a process
died is known if the library was compiled with the sanitizers and they were preloaded: without the
library's code on the stack it died of LiteRT alone. With `options` only what the library itself
reads is changed, so that none may die at all.
"""

import collections
import dataclasses
import json
import os
import pathlib
import signal
import sys
import tempfile

import numpy as np

from tests.kernels import op_files, random_cases, test_graphs

ODD = [0, 1, -1, 2, 31, 32, 33, 255, 256, 65535, 65536, 2**20, 2**30, 2**31 - 1, -(2**31)]
SECONDS = 60


def originals():
    """Right files of every op and type."""
    yield test_graphs.chain(np.random.default_rng(1))[0]
    small = op_files.Case((1, 5, 6), 37, 41, (3, 2), (2, 1), pads=(1, 0, 1, 1), activation=2)
    op = random_cases.Op(small, np.random.default_rng(2))
    yield op.bits_file("int32")
    yield op.bits_file("int8")
    yield op.numbers_file("float32", "int8", "int8", "affine")
    of_bytes = random_cases.Op(dataclasses.replace(small, pad_value=0), op.rng, of_bytes=True)
    yield of_bytes.bits_file("uint8")
    yield op.numbers_file("int32", "float32", "float32", "plain")
    in_planes = dataclasses.replace(small, pad_value=0, in_bits=2, out_bits=2)
    yield random_cases.Op(in_planes, op.rng).bits_file("int32")
    yield random_cases.Op(in_planes, op.rng).bits_file("float32")
    writer = op_files.Writer()
    x = writer.input((2, 3, 70))
    inputs = [x, writer.constant(np.arange(-(-70 * 9 // 8), dtype="uint8"))]
    inputs += [writer.constant(np.linspace(-1, 1, 9, dtype="float32")) for _ in range(2)]
    case = op_files.Case((1, 1, 6), 70, 9, (1, 1), pads=(0, 0, 0, 0))
    writer.op(op_files.DENSE, case.options(), inputs, [writer.output((2, 3, 9))])
    yield writer.bytes()


def mutant(content, rng, only_options):
    """A file with a few bytes changed, or a few things in its tables."""
    if only_options or rng.random() < 0.6:
        return changed(content, rng, only_options)
    data = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(len(data)))
        if rng.random() < 0.5:
            data[place] ^= 1 << int(rng.integers(8))
        else:
            data[place : place + 4] = int(rng.choice(ODD)).to_bytes(4, "little", signed=True)
    if rng.random() < 0.1:
        del data[int(rng.integers(len(data))) :]
    return bytes(data)


def changed(content, rng, only_options):
    """Options, constants, and unless only those: shapes, types, grids, places of tensors."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    graph = model.subgraphs[0]
    for _ in range(rng.integers(1, 4)):
        op = graph.operators[rng.integers(len(graph.operators))]
        tensor = graph.tensors[rng.integers(len(graph.tensors))]
        kind = rng.integers(2 if only_options else 7)
        if kind == 0 and op.customOptions is not None:
            options = np.array(op.customOptions, "uint8")
            words = options[: len(options) // 4 * 4].view("<i4")
            if len(words):
                words[rng.integers(len(words))] = rng.choice(ODD)
            op.customOptions = options[: rng.choice([len(options), len(options), 4, 0])]
        elif kind == 1:
            buffer = model.buffers[rng.integers(len(model.buffers))]
            if buffer.data is not None:
                buffer.data = rng.integers(0, 256, len(buffer.data)).astype("uint8")
        elif kind == 2 and len(tensor.shape):
            tensor.shape = np.array(tensor.shape, "int32")
            tensor.shape[rng.integers(len(tensor.shape))] = rng.choice(ODD)
        elif kind == 3:
            tensor.type = int(rng.integers(0, 18))
        elif kind == 4 and tensor.quantization is not None:
            tensor.quantization.scale = [float(rng.choice([0, -1, np.nan, np.inf, 1e-38]))]
        elif kind == 5 and op.inputs is not None and len(op.inputs):
            op.inputs = np.array(op.inputs, "int32")
            op.inputs[rng.integers(len(op.inputs))] = rng.integers(-1, len(graph.tensors) + 1)
        elif kind == 6:
            buffer = model.buffers[rng.integers(len(model.buffers))]
            if buffer.data is not None and len(buffer.data):
                buffer.data = np.array(buffer.data, "uint8")[: rng.integers(len(buffer.data))]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def tried(content, library):
    """Whether the interpreter runs a file, twice, or refuses it."""
    from ai_edge_litert.interpreter import Interpreter, load_delegate

    try:
        made = Interpreter(
            model_content=content, num_threads=2, experimental_delegates=[load_delegate(library)]
        )
        made.allocate_tensors()
        for _ in range(2):
            for details in made.get_input_details():
                if 0 < np.prod(details["shape"], dtype="float64") < 1e6:
                    made.set_tensor(
                        details["index"], np.ones(details["shape"]).astype(details["dtype"])
                    )
            made.invoke()
    except (RuntimeError, ValueError, TypeError, MemoryError):
        return "refused"
    return "ran"


def run(library, first, count, only_options=False):
    """Counts of what became of the files; of those that died, what isn't known to be LiteRT's."""
    counts, found = collections.Counter(), []
    files = list(originals())
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "stderr"
        number = first
        while number < first + count:
            number, fate = group(
                library, files, number, first + count, only_options, counts, report
            )
            if fate is None:
                continue
            text = report.read_text()
            if fate == signal.SIGALRM:
                counts["too long"] += 1
                continue
            ours = pathlib.Path(library).name in text or "runtime error" in text
            where = "the library" if ours else "LiteRT" if "#0" in text else "places unknown"
            counts[f"died in {where}"] += 1
            if where != "LiteRT":
                found.append({"number": number - 1, "fate": fate, "report": text[:4000]})
    return {**counts, "found": found}


def group(library, files, first, end, only_options, counts, report):
    """Files up to one that kills the process: the next one's number, and what killed it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.dup2(os.open(report, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        for number in range(first, end):
            rng = np.random.default_rng([number, 5])
            content = mutant(files[number % len(files)], rng, only_options)
            signal.alarm(SECONDS)
            os.write(writer, b"a" if tried(content, library) == "ran" else b"b")
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    counts.update({"ran": said.count(b"a"), "refused": said.count(b"b")})
    if status == 0 and first + len(said) == end:
        return end, None
    return first + len(said) + 1, status & 127


if __name__ == "__main__":
    words = sys.argv[1:]
    print(json.dumps(run(words[0], int(words[1]), int(words[2]), "options" in words[3:])))
