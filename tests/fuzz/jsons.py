"""Changes to JSON: values of other types, extreme numbers, odd texts, nesting, broken syntax."""

import copy
import json
import math
import random

from tests.fuzz import mutate

_TEXTS = ["", " ", "a\nb", "\x1b[31m", "\ud800", "=1+1", "<script>", "{{ x }}", "%s%n",
          "x" * 20_000, "../../etc/passwd", "NaN", "1e999", "\u202e", "|", "\0"]  # fmt: skip
_VALUES = [None, True, False, 0, 1, -1, 0.5, -0.0, 1e308, -1e308, 1e-320, math.nan, math.inf,
           -math.inf, 2**31, 2**63, 10**400, -(10**400), [], {}, [[]], [1, 2], {"a": 1}, "text",
           ["text"], [None], [{}], {"": None}]  # fmt: skip


def changed(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """The text with one to three changes of its values, or of its bytes."""
    kind = rng.randrange(10)
    if kind == 0:
        return mutate.changed(data, others, rng, [])
    if kind == 1:
        return _syntax(data, rng)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = _value_changed(value, json.loads(rng.choice(others)), rng)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.8, indent=rng.choice((None, 1)))
    return text.encode("utf-8", "surrogatepass")


def _paths(value, path=()):
    """All places of a value, by keys and indices."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def _value_changed(value, other, rng):
    paths = list(_paths(value))[1:]
    if not paths:
        return copy.deepcopy(rng.choice(_VALUES))
    path = rng.choice(paths)
    parent, key = _at(value, path[:-1]), path[-1]
    kind = rng.randrange(10)
    if kind < 5:
        parent[key] = copy.deepcopy(rng.choice(_VALUES))
    elif kind == 5:
        parent[key] = rng.choice(_TEXTS)
    elif kind == 6:  # what stands elsewhere, here or in another file
        source = rng.choice((value, other))
        taken = list(_paths(source))
        parent[key] = copy.deepcopy(_at(source, rng.choice(taken)))
    elif kind == 7:
        del parent[key]
    elif kind == 8 and isinstance(parent, dict):
        parent[rng.choice((*_TEXTS, *parent, *other))] = parent.pop(key)
    else:
        nested = parent[key]
        for _ in range(rng.choice((1, 2, 20, 200))):
            nested = [nested] if rng.random() < 0.5 else {"a": nested}
        parent[key] = nested
    return value


def _syntax(data, rng):
    text = data.decode()
    kind = rng.randrange(8)
    if kind == 0:
        return b"\xef\xbb\xbf" + data
    if kind == 1:
        return text.encode(rng.choice(("utf-16", "utf-32")))
    if kind == 2:
        depth = rng.choice((100, 900, 1100, 100_000))
        return b"[" * depth + rng.choice((b"", b"]" * depth))
    if kind == 3:
        depth = rng.choice((100, 2000, 50_000))
        return text.replace(":", ':{"a":' * depth, 1).encode()
    if kind == 4:
        return text.replace("1", "1" * rng.choice((400, 4000, 5000, 100_000)), 1).encode()
    if kind == 5:
        return text.replace(rng.choice("0123456789"), rng.choice(("1e999", "-", "NaN"))).encode()
    if kind == 6:
        return rng.choice((b"", b"null", b"[]", b"{}", b"0", b'""', b"\0", b"\xff"))
    return (text + text).encode()
