"""The epoch that a GPU would run, traced on this machine: a fake says that there is a GPU, TensorFlow's registry of
kernels is real. What has no kernel there runs on the host, and its operands are copied to it in each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels  # the only list of kernels in TensorFlow

from pipelines.config import Hyperparameters
from pipelines.data.datasets import Dataset, Split
from pipelines.data.preprocessing import Preprocessing
from pipelines.encoding.pieces import learn_pieces
from pipelines.network.epoch import fused_epoch
from pipelines.training.rows import TrainingRows
from pipelines.training.training import Training

pytestmark = pytest.mark.skipif(not tf.test.is_built_with_cuda(), reason="this TensorFlow has no kernels for GPUs")

ON_A_GPU = ("GPU", "DEFAULT")
NO_OPERATION = {"Const", "NoOp", "Placeholder"}
RICHER: dict[str, Any] = {
    "activation": "gelu",
    "normalization": "batch",
    "noise": 0.1,
    "input_dropout": 0.1,
    "residual": True,
    "ema": 0.9,
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "max_norm": 2.0,
    "label_smoothing": 0.1,
}
EMBEDDED = {"embedding": "piecewise"}
NETWORKS = [{}, {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "rmsprop"}, RICHER, EMBEDDED]


def pictures() -> Dataset:
    """Small ones of bytes."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 4, 4), np.uint8), rng.integers(0, 3, 120).astype(np.int32)
    preprocessing = Preprocessing((4, 4), ("a", "b", "c"), 0.0, 255.0)
    return Dataset("pictures", Split(x[40:], y[40:]), Split(x[:40], y[:40]), preprocessing, "", 0)


def table() -> Dataset:
    """Rows with narrow ranges, whose pieces have large slopes and biases."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((120, 2)) < 0.5, 20, 80) + rng.normal(0, 0.05, (120, 2))
    x, y = x.astype(np.float32), rng.integers(0, 3, 120).astype(np.int32)
    center, scale = x.mean(0), x.std(0)
    preprocessing = Preprocessing((2,), ("a", "b", "c"), center, scale)
    pieces = learn_pieces(x, (True, True), center, scale)
    return Dataset("table", Split(x[40:], y[40:]), Split(x[:40], y[:40]), preprocessing, "", 0, pieces=pieces)


def trained(seeds: list[int], more: dict[str, Any]) -> Training:
    dataset = table() if more == EMBEDDED else pictures()
    training = Training(TrainingRows.of(dataset), Hyperparameters(8, 2, epochs=2, batch_size=32, **more), seeds)
    list(training)
    return training


def losses(training: Training) -> list[float]:
    return [result.report.metrics["loss"] for result in training.results if result.report]


@pytest.fixture
def _fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = tf.config.list_physical_devices
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: ["gpu"] if kind == "GPU" else real(kind))
    fused_epoch.cache_clear()
    yield
    fused_epoch.cache_clear()


def nodes(training: Training) -> Iterator[Any]:
    """The operations of the epoch function."""
    (function,) = training._packs[0]._train._list_all_concrete_functions()  # TensorFlow shows them nowhere else
    graph = function.graph.as_graph_def()
    for part in (graph.node, *(inner.node_def for inner in graph.library.function)):
        yield from (node for node in part if node.op not in NO_OPERATION)


def has_kernel(node: Any) -> bool:
    """Whether a GPU, or any kind of device, has a kernel of this operation with these types."""
    registered = kernels.get_registered_kernels_for_op(node.op).kernel
    return any(
        kernel.device_type in ON_A_GPU
        and all(types_of(node, limit.name) <= set(limit.allowed_values.list.type) for limit in kernel.constraint)
        for kernel in registered
    )


def types_of(node: Any, name: str) -> set[int]:
    value = node.attr[name]
    return set(value.list.type) or {value.type}


@pytest.mark.usefixtures("_fake_gpu")
@pytest.mark.parametrize("seeds", [[0], [0, 1]])
@pytest.mark.parametrize("more", NETWORKS)
def test_each_operation_of_an_epoch_has_a_kernel_for_gpus(seeds: list[int], more: dict[str, Any]) -> None:
    training = trained(seeds, more)
    missing = {(node.op, str(node.attr["T"])) for node in nodes(training) if not has_kernel(node)}
    assert not missing


@pytest.mark.usefixtures("_fake_gpu")
def test_rows_targets_and_their_order_have_types_that_stay_on_a_gpu() -> None:
    rows = TrainingRows.of(pictures()).training
    assert (rows.x.dtype, rows.y.dtype) == (tf.float16, tf.int64)
    np.testing.assert_array_equal(rows.x.numpy(), pictures().training.x.reshape(80, 16))
    gathered = [node for node in nodes(trained([0], {})) if node.op == "GatherV2"]
    assert gathered
    assert {tf.as_dtype(node.attr["Tindices"].type) for node in gathered} == {tf.int64}


@pytest.mark.parametrize("more", NETWORKS)
def test_that_epoch_computes_what_one_on_a_core_does(more: dict[str, Any], request: pytest.FixtureRequest) -> None:
    on_a_core = losses(trained([0, 1], more))
    request.getfixturevalue("_fake_gpu")
    assert losses(trained([0, 1], more)) == pytest.approx(on_a_core, rel=1e-4)


@pytest.mark.usefixtures("_fake_gpu")
def test_no_product_of_matrices_computes_the_pieces_of_an_embedding() -> None:
    """There it would round its operands to TF32."""
    n_layers, n_products = 3, [node.op for node in nodes(trained([0], EMBEDDED))].count("MatMul")
    assert n_products == 3 * n_layers - 1, "forward, and two for each layer backward but one for the first"
