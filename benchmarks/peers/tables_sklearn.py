"""Peers on real tables: a linear model, histogram boosting, scikit-learn's MLP under Optuna with MLflow, RealMLP."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from peers.table_rows import Options, Rows, parse_options, read_rows, write


def linear(options: Options, rows: Rows) -> np.ndarray:  # noqa: ARG001
    """Logistic or ridge regression with standard scaling and a 0/1 column for each category."""
    from sklearn.linear_model import LogisticRegression, Ridge

    x = rows.encoded(rows.known)
    model = Ridge() if rows.is_regression else LogisticRegression(max_iter=2000)
    return answers(model.fit(x[rows.known], rows.y[rows.known]), x[rows.test])


def boosting(options: Options, rows: Rows) -> np.ndarray:
    """``HistGradientBoosting`` with its defaults; categories as it takes them."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = rows.x.copy()
    for name in x.select_dtypes(["object", "string", "bool"]):
        common = x[name].astype(str).where(x[name].astype(str).isin(x[name].astype(str).value_counts().index[:200]))
        x[name] = common.astype("category")
    kind = HistGradientBoostingRegressor if rows.is_regression else HistGradientBoostingClassifier
    model = kind(random_state=options.seed, categorical_features="from_dtype")
    return answers(model.fit(x.iloc[rows.known], rows.y[rows.known]), x.iloc[rows.test])


def mlp(options: Options, rows: Rows) -> np.ndarray:
    """scikit-learn's MLP, searched by TPE on as many threads as there are cores, each trial in MLflow."""
    import mlflow
    import optuna
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("tables")
    x, kind = rows.encoded(rows.fit), MLPRegressor if rows.is_regression else MLPClassifier
    center, scale = (rows.y[rows.fit].mean(), rows.y[rows.fit].std()) if rows.is_regression else (0, 1)
    y = (rows.y - center) / scale if rows.is_regression else rows.y
    best: dict[str, Any] = {"value": -np.inf}

    def objective(trial: optuna.Trial) -> float:
        width, depth = trial.suggest_int("width", 32, 512, log=True), trial.suggest_int("depth", 1, 3)
        params = {
            "alpha": trial.suggest_float("alpha", 1e-6, 1e-1, log=True),
            "learning_rate_init": trial.suggest_float("learning_rate_init", 1e-4, 1e-2, log=True),
            "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128, 256]),
            "max_iter": trial.suggest_int("max_iter", 10, 60),
        }
        model = kind(hidden_layer_sizes=[width] * depth, early_stopping=True, random_state=options.seed, **params)
        with mlflow.start_run():
            mlflow.log_params(params | {"width": width, "depth": depth})
            value = float(model.fit(x[rows.fit], y[rows.fit]).score(x[rows.validation], y[rows.validation]))
            mlflow.log_metric("value", value)
        if value > best["value"]:
            best.update(value=value, model=model)
        return value

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=options.seed))
    study.optimize(objective, timeout=options.seconds, n_jobs=os.cpu_count() or 1)
    found = answers(best["model"], x[rows.test])
    return found * scale + center if rows.is_regression else found


def realmlp(options: Options, rows: Rows) -> np.ndarray:
    """Pytabkit's RealMLP with its defaults: one training. It takes no missing numbers: they get their column's mean."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    kind = RealMLP_TD_Regressor if rows.is_regression else RealMLP_TD_Classifier
    x = rows.x.fillna(rows.x.iloc[rows.known].mean(numeric_only=True))
    model = kind(random_state=options.seed, device="cpu").fit(x.iloc[rows.known], rows.y[rows.known])
    return answers(model, x.iloc[rows.test])


def answers(model: Any, x: Any) -> np.ndarray:
    """Probabilities of classes, or numbers."""
    return np.asarray(model.predict_proba(x) if hasattr(model, "predict_proba") else model.predict(x))


def main() -> None:
    options, started = parse_options(), time.time()
    rows = read_rows(options)
    peers = {"linear": linear, "boosting": boosting, "sklearn-mlp": mlp, "realmlp": realmlp}
    write(options, rows, peers[options.name](options, rows), started)


if __name__ == "__main__":
    main()
