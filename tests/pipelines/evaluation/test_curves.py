from __future__ import annotations

import math
import re
import time
import xml.etree.ElementTree as ET

import pytest

from pipelines.evaluation.curves import History, learning_curves

SVG = "{http://www.w3.org/2000/svg}"


def history(n: int) -> History:
    return [
        (i, {"loss": 0.6 / i, "accuracy": 1 - 0.3 / i, "val_loss": 0.5 / i + 0.01 * i, "val_accuracy": 0.97 - 0.2 / i})
        for i in range(1, n + 1)
    ]


def paths(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The points of the two curves of a kind, loss first, without the legend's."""
    found = [path.get("d", "") for path in ET.fromstring(svg).iter(f"{SVG}path") if path.get("class") == kind]
    return [[(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", d)] for d in found[1:]]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter(f"{SVG}text")]


def test_each_panel_has_both_curves_and_higher_is_higher():
    svg = learning_curves(history(20), 8)
    for kind in ("training", "validation"):
        loss, accuracy = paths(svg, kind)
        assert len(loss) == len(accuracy) == 20
        assert [x for x, _ in loss] == sorted(x for x, _ in loss)
        assert loss[0][1] < loss[4][1], "the loss falls"
        assert accuracy[0][1] > accuracy[-1][1], "the accuracy rises"
    (_, training), (_, validation) = paths(svg, "training"), paths(svg, "validation")
    assert training[0][1] > validation[0][1], "0.70 and 0.77: both on one scale"
    assert training[-1][1] < validation[-1][1], "0.985 and 0.96"


def test_the_best_epoch_is_marked_and_named():
    svg = learning_curves(history(20), 8)
    value = history(20)[7][1]
    assert {f"Loss, {value['val_loss']:.4f} at epoch 8", f"Accuracy, {value['val_accuracy']:.4f} at epoch 8"} <= {
        *texts(svg)
    }
    assert "best epoch" in texts(svg)
    assert "best epoch" not in texts(learning_curves(history(3), 9))


@pytest.mark.parametrize("n", [0, 1, 2, 300])
def test_everything_is_inside_for_any_number_of_epochs(n: int):
    svg = learning_curves(history(n), n)
    for kind in ("training", "validation"):
        assert all(0 <= x <= 800 and 0 <= y <= 300 for points in paths(svg, kind) for x, y in points)
    assert svg.count("<circle") == (4 * n if n < 6 else 0), "a single epoch is still a point"


def test_what_is_not_finite_leaves_a_gap_and_what_is_missing_no_curve():
    wild = [
        (1, {"loss": 1e300, "accuracy": 0.1}),
        (2, {"loss": math.nan, "accuracy": 0.1}),
        (3, {"loss": math.inf, "accuracy": 0.1}),
        (4, {"loss": -0.0, "accuracy": 0.1}),
    ]
    svg = learning_curves(wild, 3)
    assert "nan" not in svg
    assert "inf" not in svg
    assert [len(points) for points in paths(svg, "training")] == [2, 4]
    assert [len(points) for points in paths(svg, "validation")] == [0, 0]


def test_it_costs_less_than_ten_milliseconds():
    def seconds() -> float:
        start = time.process_time()
        learning_curves(history(30), 8)
        return time.process_time() - start

    assert min(seconds() for _ in range(6)) < 0.01  # 0.0003 when written
