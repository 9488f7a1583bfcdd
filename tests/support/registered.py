"""Reads a home's MLflow and its registry through MLflow's own functions."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient

from search.home.settings import read_settings


def client_of(home: Path) -> MlflowClient:
    return MlflowClient(read_settings(home).tracking_uri)


def champion(home: Path, model: str) -> int:
    return int(client_of(home).get_model_version_by_alias(model, "champion").version)


def versions(home: Path, model: str) -> list:
    return client_of(home).search_model_versions(f"name='{model}'")


def pyfunc(home: Path, name: str):
    mlflow.set_tracking_uri(read_settings(home).tracking_uri)  # which is an environment variable from now on
    try:
        return mlflow.pyfunc.load_model(f"models:/{name}@champion")
    finally:
        mlflow.set_tracking_uri("")
