"""Each score equals scikit-learn's function of that name, with ties, weights and missing classes."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn import metrics

from pipelines.training.scores import score

SKLEARN = {
    "accuracy": lambda p, y, w: metrics.accuracy_score(y, p.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda p, y, w: metrics.balanced_accuracy_score(y, p.argmax(1), sample_weight=w),
    "macro_f1": lambda p, y, w: metrics.f1_score(y, p.argmax(1), average="macro", sample_weight=w),
}


def _one_against_rest(function, p, y, w):
    if p.shape[1] == 2:
        return function(y, p[:, 1], sample_weight=w)
    numbers = [k for k in range(p.shape[1]) if 0 < (y == k).sum() < len(y)]
    return np.mean([function(y == k, p[:, k], sample_weight=w) for k in numbers])


@st.composite
def _predictions(draw):
    n_classes, n_rows = draw(st.integers(2, 5)), draw(st.integers(12, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probabilities = np.round(rng.dirichlet(np.ones(n_classes), n_rows), draw(st.integers(1, 6))).astype(np.float32)
    labels = rng.integers(0, n_classes, n_rows)
    labels[:2] = 0, 1
    return probabilities, labels, rng.uniform(0.1, 3, n_rows) if draw(st.booleans()) else None


@given(_predictions())
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_scores_of_classes_equal_those_of_scikit_learn(predictions):
    p, y, w = predictions
    for name, expected in SKLEARN.items():
        assert score(name, p, y, w) == pytest.approx(expected(p, y, w), abs=1e-9), name
    for name, function in (("auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)):
        expected = _one_against_rest(function, p.astype(np.float64), y, w)
        assert score(name, p, y, w) == pytest.approx(expected, abs=1e-9), name


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_scores_of_numbers_equal_those_of_scikit_learn(seed, is_weighted):
    rng = np.random.default_rng(seed)
    truth = rng.normal(rng.uniform(-100, 100), 10, 50)
    predicted = truth + rng.normal(0, 3, 50)
    weight = rng.uniform(0.1, 3, 50) if is_weighted else None
    found = {metric: score(metric, predicted, truth, weight) for metric in ("rmse", "mae", "r2")}
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, predicted, sample_weight=weight))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predicted, sample_weight=weight))
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, predicted, sample_weight=weight))
