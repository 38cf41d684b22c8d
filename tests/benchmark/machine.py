"""A machine on which only loads and inferences take time, and exactly as much as is said."""

import io

from tfcompress.benchmark import child
from tfcompress.runtime.child import Reporter

START_NS = 1_000_000_000  # What the library's own start takes, before the first load of all.
COLD_NS = 500_000  # What an inference takes longer if another file ran before it.


class Machine:
    """Its clock, and what ran on it.

    Args:
        run_ns: path to the time of an inference with warm caches.
        load_ns: path to the time of a load.
        first_ns: path to the time of the first inference after a load.
    """

    def __init__(self, run_ns, load_ns=None, first_ns=None):
        self.run_ns, self.load_ns, self.first_ns = run_ns, load_ns or {}, first_ns or {}
        self.now_ns, self.last, self.log = 0, None, []

    def perf_counter_ns(self):
        return self.now_ns

    def perf_counter(self):
        return self.now_ns / 1e9

    def load(self, path, request):
        self.now_ns += self.load_ns.get(path, 0) + (START_NS if self.last is None else 0)
        self.last = "a load"
        return Runner(self, path)


class Runner:
    """A file that runs on such a machine."""

    def __init__(self, machine, path):
        self.machine, self.path, self.fresh = machine, path, True

    def feed(self, seed):
        return {}

    def invoke(self):
        machine, path = self.machine, self.path
        machine.now_ns += machine.run_ns[path]
        if self.fresh:
            machine.now_ns += machine.first_ns.get(path, 0)
        elif machine.last != path:
            machine.now_ns += COLD_NS
        machine.last, self.fresh = path, False
        machine.log.append(path)


def measure(monkeypatch, machine, **changes):
    """What the measuring process answers about all files of a machine, in the machine's time."""
    monkeypatch.setattr(child, "time", machine)
    monkeypatch.setattr(child, "load_runner", machine.load)
    request = {
        "paths": list(machine.run_ns),
        "backend": {},
        "threads": 1,
        "runs": 3,
        "min_seconds": 0,
        "max_seconds": 150,
        "seed": 0,
    }
    return child.measure_latency({**request, **changes}, Reporter(io.StringIO()))
