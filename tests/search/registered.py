"""What the registry holds, seen through MLflow's own client."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from search.settings import read_settings


def client_of(home: Path) -> MlflowClient:
    return MlflowClient(read_settings(home).tracking_uri)


def champion(home: Path, model: str) -> int:
    return int(client_of(home).get_model_version_by_alias(model, "champion").version)


def versions(home: Path, model: str) -> list:
    return client_of(home).search_model_versions(f"name='{model}'")
