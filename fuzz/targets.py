"""Coverage-guided fuzzing of everything that parses a file: ``python fuzz/targets.py TARGET [libFuzzer's options]``.

A file may be rejected with an ``MlpSearchError`` whose problems are one line each. Any other exception, a crash, a
hang (``-timeout``) or excessive memory (``-rss_limit_mb``) is a finding, and libFuzzer writes the file that caused it.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import atheris

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
warnings.simplefilter("ignore")

PARSERS = ["pipelines", "search", "tomllib", "zipfile", "numpy.lib", "PIL", "keras.src.saving"]
with atheris.instrument_imports(include=PARSERS):
    import tomllib  # noqa: F401
    import zipfile  # noqa: F401

    import h5py
    import keras  # noqa: F401
    import numpy as np
    import pandas as pd
    from absl import logging
    from PIL import Image, JpegImagePlugin, PngImagePlugin  # noqa: F401

    from pipelines.config import DataConfig
    from pipelines.data.description import describe
    from pipelines.errors import InputError, MlpSearchError
    from pipelines.files.pictures import read_picture
    from pipelines.training.history import sha256
    from pipelines.training.model import load_h5
    from search.spec.defaults import STUDY_TEMPLATE
    from search.spec.reading import read_spec

logging.set_verbosity(logging.ERROR)
_MAX_CONFIG = 60_000  # HDF5 holds no more in an attribute
X, Y = np.arange(48, dtype=np.float32).reshape(24, 2), np.arange(24) % 2
ROWS = "".join(f"{n},{n % 3}.5,{'red' if n % 2 else 'blue'},{n % 2}\n" for n in range(24))


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _picture(mode: str, kind: str) -> bytes:
    return _bytes(lambda file: Image.new(mode, (9, 5)).save(file, kind))


def _frame(**columns: object) -> bytes:
    return _bytes(pd.DataFrame({**columns, "target": Y}).to_parquet)


@cache
def _model(*kinds: str) -> tuple[bytes, bytes]:
    """Returns a model file of such layers, and the configuration in it."""
    import keras

    made = {"dense": keras.layers.Dense(2), "dropout": keras.layers.Dropout(0.5), "lambda": keras.layers.Lambda(abs)}
    model = keras.Sequential([keras.Input((2,)), *(made[kind] for kind in kinds)])
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.h5"))
        with h5py.File(Path(folder, "model.h5")) as file:
            config = file.attrs["model_config"]
        return Path(folder, "model.h5").read_bytes(), config.encode()


def seeds(target: str) -> list[bytes]:
    """Returns correct files, for libFuzzer to mutate."""
    if target == "study":
        return [STUDY_TEMPLATE.encode(), b'[data]\nsource = "digits"\n[[start]]\nwidth = 8\n']
    if target == "npz":
        return [
            _bytes(lambda file: np.savez(file, x=X, y=Y)),
            _bytes(lambda file: np.savez_compressed(file, x_train=X, y_train=Y.astype(str), x_test=X, y_test=Y)),
        ]
    if target == "csv":
        return [f"a,b,c,target\n{ROWS}".encode(), b"a,target\n" + b'"1",yes\n,no\n' * 12]
    if target == "parquet":
        words = ["red", None] * 12
        return [_frame(a=X[:, 0], b=words), _frame(when=pd.date_range("2020-01-01", periods=24)), _frame(pair=list(X))]
    if target == "picture":
        return [_picture(mode, "PNG") for mode in ("L", "RGBA", "P", "I;16")] + [_picture("RGB", "JPEG")]
    return [_model(*kinds)[1] for kinds in (("dense",), ("dense", "dropout"), ("lambda",))]


def study(path: Path) -> None:
    """Reads a study file."""
    read_spec(path)


def table_or_arrays(path: Path) -> None:
    """Reads a data file and describes it as ``datasets FILE`` does."""
    describe(DataConfig(str(path)))


def picture(path: Path) -> None:
    """Reads a picture to predict."""
    row = read_picture(path, (8, 8), (0.0, 255.0))
    assert row.shape == (1, 8, 8)
    assert np.isfinite(row).all()


def model(path: Path) -> None:
    """Loads a model file: the bytes themselves, without a recorded hash; then as the configuration of a correct file.

    HDF5 hangs on damaged files, so bytes reach it only after their hash was checked.
    """
    content = path.read_bytes()
    try:
        load_h5(content, "0" * 64)
    except InputError:
        path.write_bytes(_model("dense")[0])
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = np.bytes_(content.replace(b"\0", b"")[:_MAX_CONFIG] or b"{}")
        content = path.read_bytes()
        load_h5(content, sha256(content))
    else:
        raise AssertionError("loaded under another hash")


def refusal(read: Callable[[Path], None], path: Path) -> tuple[str, ...]:
    """Returns the problems that a file is rejected for; none if it is accepted."""
    try:
        read(path)
    except InputError as error:
        return error.problems
    except MlpSearchError as error:
        return (str(error),)
    return ()


TARGETS = {
    "study": (study, ".toml"),
    "npz": (table_or_arrays, ".npz"),
    "csv": (table_or_arrays, ".csv"),
    "parquet": (table_or_arrays, ".parquet"),
    "picture": (picture, ".png"),
    "h5": (model, ".h5"),
}


def main() -> None:
    """Fuzzes one target, starting from correct files."""
    name, *options = sys.argv[1:]
    read, suffix = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        corpus, path = Path(folder, "corpus"), Path(folder, f"file{suffix}")
        corpus.mkdir()
        for number, content in enumerate(seeds(name)):
            (corpus / str(number)).write_bytes(content)

        def one(data: bytes) -> None:
            path.write_bytes(data)
            lines = refusal(read, path)
            assert all(line and "\n" not in line for line in lines), lines

        limits = ["-timeout=30", "-rss_limit_mb=3000", "-max_len=65536", f"-artifact_prefix=fuzz-{name}-"]
        atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
