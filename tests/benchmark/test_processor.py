"""What recorded texts of other machines are read as."""

import pathlib
import subprocess
import sys

import pytest

from tfcompress.benchmark import processor
from tfcompress.benchmark.processor import Processor, from_cpuinfo, from_sysctl

MILAN = (
    "fpu vme sse sse2 ht ssse3 fma cx16 sse4_1 sse4_2 popcnt avx f16c bmi1 avx2 bmi2 sha_ni vaes"
)
ZEN5 = (
    "fpu sse sse2 ssse3 fma avx f16c avx2 avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl "
    "avx_vnni avx512_bf16 avx512vbmi avx512_vnni avx512_bitalg avx512_vpopcntdq"
)
SAPPHIRE = "sse2 avx2 avx512f avx_vnni avx512_vnni avx512_vpopcntdq amx_bf16 amx_tile amx_int8"
SKYLAKE_X = "sse2 avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
CORTEX_A76 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: c04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
CORTEX_A72 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd08\n"
M1 = """hw.optional.floatingpoint: 1
hw.optional.neon: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 0
machdep.cpu.brand_string: Apple M1
hw.physicalcpu: 8
"""


def x86(name, flags, cores=((0, 0),)):
    """An entry for each logical core, by its socket and physical core."""
    entries = (
        f"processor\t: {number}\nmodel name\t: {name}\nphysical id\t: {socket}\n"
        f"core id\t\t: {core}\nflags\t\t: {flags}\nbugs\t\t:\n"
        for number, (socket, core) in enumerate(cores)
    )
    return "\n".join(entries) + "\n"


@pytest.mark.parametrize(
    ("text", "features", "dot_product"),
    [
        (x86("AMD EPYC 7B13", MILAN), "AVX2", False),
        (x86("AMD EPYC", ZEN5), "AVX2, AVX-512, AVX-512 VPOPCNTDQ, VNNI", True),
        (x86("Xeon", SAPPHIRE), "AVX2, AVX-512, AVX-512 VPOPCNTDQ, VNNI, AMX", True),
        (x86("Xeon", SKYLAKE_X), "AVX2, AVX-512", False),
        (x86("Alder Lake", "sse2 avx2 avx_vnni"), "AVX2, VNNI", True),
        (x86("Atom", "sse2 ssse3"), "", False),
        (CORTEX_A76, "NEON, NEON dot product", True),
        (CORTEX_A72, "NEON", False),
    ],
)
def test_features(text, features, dot_product):
    found = from_cpuinfo(text)
    assert ", ".join(found.features) == features
    assert found.int8_dot_product is dot_product


def test_names_and_cores():
    two_sockets = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)]
    found = from_cpuinfo(x86("AMD EPYC 7B13", MILAN, two_sockets))
    assert (found.name, found.cores) == ("AMD EPYC 7B13", 4)
    found = from_cpuinfo(CORTEX_A76)
    assert (found.name, found.cores) == ("Raspberry Pi 5 Model B Rev 1.0", None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("AMD EPYC", "AMD EPYC family 25 model 17"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz family 25 model 17"),
        ("AMD EPYC 7B13", "AMD EPYC 7B13"),
    ],
)
def test_a_name_without_its_number_gets_the_family(name, shown):
    text = x86(name, MILAN).replace("model name", "cpu family\t: 25\nmodel\t\t: 17\nmodel name")
    assert from_cpuinfo(text).name == shown


def test_what_the_system_does_not_say_is_not_guessed():
    assert from_cpuinfo("processor\t: 0\nisa\t\t: rv64imafdc\n") == Processor()
    assert from_sysctl("") == Processor()
    assert Processor().int8_dot_product is None


def test_macos():
    found = from_sysctl(M1)
    assert found == Processor("Apple M1", ("NEON", "NEON dot product"), 8)
    assert found.int8_dot_product is True


@pytest.fixture
def fresh():
    processor.processor.cache_clear()
    yield
    processor.processor.cache_clear()


def test_macos_is_asked_by_sysctl(fresh, monkeypatch):
    def answer(command, **_):
        return subprocess.CompletedProcess(command, 1, stdout=M1)

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(processor.subprocess, "run", answer)
    assert processor.processor().name == "Apple M1"


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_without_the_file(system, fresh, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(processor, "_CPUINFO", pathlib.Path("/nonexistent"))
    found = processor.processor()
    assert (found.features, found.int8_dot_product, found.cores) == (None, None, None)
