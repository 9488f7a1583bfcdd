"""Which processors and which networks train in bfloat16."""

from __future__ import annotations

import pytest
from fake_driver import Driver, FakeGpu, slots_of

from pipelines.config import AskedPrecision, Hyperparameters, Precision
from search.devices import precision
from search.devices.precision import PrecisionRule, have_bfloat16, is_native, precision_of, settle, slow_note
from search.devices.slots import Slot

CORES = [Slot(0, "cpu:0"), Slot(1, "cpu:1")]
NODES = [Slot(0, "cpu:0@10.0.0.3")]
GPUS = [Slot(0, "gpu:0", "GPU-1a")]
PICTURES, TABLE = (784, 10), (30, 2)


@pytest.mark.parametrize(
    ("sizes", "width", "depth", "batch_size", "expected"),
    [
        (PICTURES, 512, 2, 128, "bfloat16"),
        (PICTURES, 128, 1, 64, "bfloat16"),
        (PICTURES, 64, 1, 64, "float32"),
        (PICTURES, 64, 1, 128, "bfloat16"),
        (PICTURES, 32, 4, 256, "float32"),
        (PICTURES, 63, 4, 256, "float32"),
        (PICTURES, 128, 1, 32, "float32"),
        (PICTURES, 1024, 1, 32, "bfloat16"),
        (TABLE, 1024, 1, 256, "float32"),
        (TABLE, 256, 2, 32, "float32"),
        (TABLE, 256, 2, 64, "bfloat16"),
        (TABLE, 128, 2, 128, "float32"),
        (TABLE, 128, 4, 128, "bfloat16"),
        ((30, 200), 1024, 1, 32, "bfloat16"),
    ],
)
def test_the_sizes_of_a_configuration_decide(
    sizes: tuple[int, int], width: int, depth: int, batch_size: int, expected: Precision
) -> None:
    hp = Hyperparameters(width=width, depth=depth, batch_size=batch_size)
    assert precision_of("by_size", hp, *sizes) == expected
    assert precision_of("float32", hp, *sizes) == "float32"
    assert precision_of("bfloat16", hp, *sizes) == "bfloat16"


@pytest.mark.parametrize(
    ("asked", "slots", "native", "expected"),
    [
        (None, CORES, True, "by_size"),
        ("auto", CORES, True, "by_size"),
        ("auto", NODES, True, "by_size"),
        ("auto", CORES, False, "float32"),
        ("auto", GPUS, True, "float32"),
        ("auto", [], True, "float32"),
        ("float32", CORES, True, "float32"),
        ("bfloat16", CORES, False, "bfloat16"),
        ("bfloat16", GPUS, True, "bfloat16"),
    ],
)
def test_a_study_settles_its_rule_by_its_processors(
    asked: AskedPrecision | None, slots: list[Slot], native: bool, expected: PrecisionRule
) -> None:
    assert settle(asked, slots, lambda: native) == expected


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512vbmi\nmodel name\t: AMD EPYC\n", True),
        ("flags : fpu amx_bf16 amx_tile\n\nflags : fpu amx_bf16 amx_tile\n", True),
        ("flags : fpu avx2 fma\n", False),
        ("flags : fpu avx512_bf16\n\nflags : fpu avx512f\n", False),
        ("model name : avx512_bf16\nflags : fpu\n", False),
        ("Features : fp asimd bf16 i8mm\n", False),
        ("", False),
    ],
)
def test_the_flags_of_the_processor_are_read(cpuinfo: str, expected: bool) -> None:
    assert is_native(cpuinfo) is expected


def test_this_processor_is_read_once_and_gives_one_answer() -> None:
    assert precision.cpu_has_bfloat16() == have_bfloat16(CORES)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True), (None, True)])
def test_the_capability_of_a_gpu_is_read(capability: tuple[int, int] | None, expected: bool, driver: Driver) -> None:
    driver([FakeGpu("GPU-1a2b3c00-0000", capability=capability)])
    assert have_bfloat16(slots_of()) is expected


def test_a_slow_processor_is_named_once_where_networks_are_in_bfloat16() -> None:
    rules: list[PrecisionRule] = ["float32", "by_size", "bfloat16"]
    assert [len(slow_note(rule, lambda: False)) for rule in rules] == [0, 1, 1]
    assert [slow_note(rule, lambda: True) for rule in rules] == [[], [], []]
    assert "more slowly than in float32" in slow_note("bfloat16", lambda: False)[0]
