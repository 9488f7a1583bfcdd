"""Model files that were changed, or that hold code, are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import pyfunc
from sklearn.datasets import load_digits

from pipelines.errors import InputError
from pipelines.training.history import sha256
from pipelines.training.model import load_h5
from search.home.settings import read_settings
from search.registry.predict import predict
from search.registry.promotion import promote

DIGITS = load_digits().images


@pytest.fixture
def tampered(contenders: Path, tmp_path: Path):
    """A model of its own, and the path of its file in the artifact store."""
    promote("weak", model="fragile", home=contenders)
    client = MlflowClient(read_settings(contenders).tracking_uri)
    source = client.get_model_version_download_uri("fragile", "1").removeprefix("file://")
    path = Path(source, "artifacts", "model.h5")
    shutil.copy(path, tmp_path / "kept.h5")
    yield path
    shutil.copy(tmp_path / "kept.h5", path)


def test_a_file_changed_by_one_byte_is_refused(contenders: Path, tampered: Path):
    content = bytearray(tampered.read_bytes())
    content[-1] ^= 1
    tampered.write_bytes(content)

    with pytest.raises(InputError, match="sha256 must be the recorded"):
        predict("fragile", DIGITS[:2], home=contenders)
    with pytest.raises(Exception, match="sha256 must be the recorded"):  # a class of the model's own code
        pyfunc(contenders, "fragile")


def test_a_file_with_a_changed_hash_beside_it_is_refused(contenders: Path, tampered: Path):
    content = bytearray(tampered.read_bytes())
    content[-1] ^= 1
    tampered.write_bytes(content)
    record = tampered.with_name("record.json")
    kept = record.read_text()
    try:
        record.write_text(json.dumps(json.loads(kept) | {"model_sha256": sha256(bytes(content))}))
        with pytest.raises(InputError, match="sha256"):
            predict("fragile", DIGITS[:2], home=contenders)
    finally:
        record.write_text(kept)


def test_a_lambda_layer_is_refused_even_with_the_right_hash(tmp_path: Path):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "lambda.h5")
    content = (tmp_path / "lambda.h5").read_bytes()
    with pytest.raises(InputError, match="cannot load it"):
        load_h5(content, sha256(content))
