"""Makes inputs: small right files, and what is changed in them.

Each `make_` function gives the bytes of one input, which one generator decides.
"""

import functools
import io
import json
import pathlib
import tempfile

from tests.fuzz import grammar, jsons, mutate, objects, zips

CORPUS = pathlib.Path(__file__).parent / "corpus"
_LABELS = "labels.txt"


@functools.cache
def models() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.tflite"))}


@functools.cache
def places(data: bytes) -> list[int]:
    return mutate.structure(data)


def make_model(rng):
    files = list(models().values())
    # Files of 1-bit ops alone classify no images, which ends `load` early.
    name = rng.choice([name for name in models() if rng.random() < 0.4 or "ops" not in name])
    data = models()[name]
    kind = rng.random()
    if kind < 0.03:
        return objects.shared(data, rng)
    if kind < 0.3:
        data = objects.changed(data, rng)
        return data if rng.random() < 0.8 else mutate.changed(data, files, rng, [])
    return mutate.changed(data, files, rng, places(data))


def make_described(rng):
    """A model whose metadata or whose zip of labels is changed."""
    data = models()[rng.choice(("float32", "int8", "xnor_int8"))]
    zip_at = data.index(b"PK\3\4")
    kind = rng.randrange(20)
    if kind < 7:
        return data[:zip_at] + zips.fields_changed(data[zip_at:], rng)
    if kind == 7 and rng.random() < 0.2:
        said = rng.choice((None, 10, 0, 2**24, 2**32 - 1))
        return zips.bomb(_LABELS, said=said, before=data[:zip_at])
    if kind < 11:
        members = zips.members_of(data)
        labels = mutate.changed(members[0][1], [data, b"\r\x0b\x1b[2J\x85\n"], rng, [])
        names = rng.choice(((_LABELS,), (_LABELS, _LABELS), ("other",), (_LABELS + "\0",)))
        return zips.rezipped([(name, labels) for name in names], rng, data[:zip_at])
    if kind < 18:
        at = data.index(b"M001") - 4
        end = data.find(b"TFL3", at) if data.find(b"TFL3", at) > 0 else at + 600
        places = list(range(at, min(end, len(data))))
        return mutate.changed(data, list(models().values()), rng, places)
    return mutate.changed(data, [data], rng, list(range(zip_at, len(data))))


@functools.cache
def containers() -> list[bytes]:
    from tfcompress.container import archive, streams, whole

    files = [models()[name] for name in ("int8", "sparse", "bit_ops_4")]
    packed = [archive.pack_bytes(file) for file in files]
    packed += [archive.pack_bytes(files[-1], coder=coder) for coder in streams.CODERS]
    for name in whole.CODERS:
        packed += [archive._head(2, file) + whole.encode(name, file) for file in files]
    return packed


def make_container(rng):
    from tfcompress.container.bytestream import varint

    if rng.random() < 0.3:
        made = grammar.container(rng)
        return made if rng.random() < 0.7 else mutate.changed(made, containers(), rng, [])
    data = rng.choice(containers())
    kind = rng.randrange(10)
    if kind < 2:  # Numbers of the format, which have as many bytes as they need.
        at = rng.choice((36, rng.randrange(36, len(data))))
        number = varint(rng.choice((*mutate.ODD, 2**26, 2**27, 2**31, 2**40)))
        return data[:at] + number + data[at + rng.choice((1, 2, 3)) :]
    if kind == 2 and rng.random() < 0.03:  # It unpacks to more than it says, or to as much.
        said = varint(rng.choice((2**26, 2**28, zips.BOMB_BYTES)))
        return data[:3] + b"\2" + data[4:36] + said + b"\0" + zips.zeros()[0]
    near = list(range(36, min(len(data), 200))) if rng.random() < 0.5 else []
    return mutate.changed(data, containers(), rng, near)


_NPY = b"\x93NUMPY\1\0"
_DTYPES = (
    "<f4",
    "<f8",
    ">f4",
    "|O",
    "<U9",
    "<U99999999",
    "|S4",
    "<M8[s]",
    "<i8",
    "|b1",
    "|V8",
    "x",
)


def npy(dtype: str, shape: tuple[int, ...], values: bytes) -> bytes:
    """A file of NumPy's, whatever its header says."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return _NPY + len(header).to_bytes(2, "little") + header + values


STATE = ((3, 2), (2,), ())
ROWS = [
    {"epoch": n, "loss": 0.5, "train_error": 0.4, "test_error": 0.3, "learning_rate": 0.01,
     "step_ms": 1.5, "seconds": 2.0}
    for n in (1, 2)
]  # fmt: skip


@functools.cache
def checkpoint() -> bytes:
    import numpy as np

    arrays = {f"v{n}": np.full(shape, n, "float32") for n, shape in enumerate(STATE)}
    written = io.BytesIO()
    np.savez(written, rows=np.array(json.dumps(ROWS)), **arrays)
    return written.getvalue()


def make_checkpoint(rng):
    data = checkpoint()
    kind = rng.randrange(40)
    if kind < 10:
        return zips.fields_changed(data, rng)
    if kind < 16:
        return mutate.changed(data, [data], rng, [])
    if kind == 16:
        return zips.bomb("v0.npy", start=npy("<f4", (zips.BOMB_BYTES // 4,), b""))
    members = dict(zips.members_of(data))
    if kind < 26:
        name = rng.choice(list(members))
        places = list(range(min(128, len(members[name]))))
        members[name] = mutate.changed(members[name], list(members.values()), rng, places)
    elif kind < 32:
        rows = jsons.changed(json.dumps(ROWS).encode(), [b"[]", b"{}"], rng)
        text = rows.decode("utf-8", "replace").replace("\0", " ")
        members["rows.npy"] = npy(f"<U{len(text)}", (), text.encode("utf-32-le"))
    else:
        shape = rng.choice((*STATE, (2**31,), (2**62, 4), (-1,), (0,), (1,) * 70, (2**40,)))
        name = rng.choice(("v0.npy", "v1.npy", "rows.npy", "v9.npy", "../v0.npy"))
        members[name] = npy(rng.choice(_DTYPES), shape, bytes(rng.choice((0, 4, 24, 4096))))
    return zips.rezipped(list(members.items()), rng)


@functools.cache
def reports() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.glob("report_*.json"))]


def make_report(rng):
    return jsons.changed(rng.choice(reports()), reports(), rng)


SETTINGS = {"technique": "int8", "seed": 3, "baseline_training": {"epochs": 2, "batch_size": 64},
            "io": None, "benchmark": ["cpu"]}  # fmt: skip


@functools.cache
def settings() -> bytes:
    """The config.json of a finished run."""
    from tfcompress.pipeline.workspace import Workspace

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with Workspace(folder, SETTINGS, {"keras": "3"}, resume=True) as space:
            space.begin()
            with space.writing(["report.json"]):
                (folder / "report.json").write_bytes(reports()[0])
        return (folder / "config.json").read_bytes()


def make_settings(rng):
    return jsons.changed(settings(), reports(), rng)
