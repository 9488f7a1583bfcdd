"""Predictions: the same numbers from the command, MLflow and its server, for every kind of file."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import requests
from animals import animals_table
from command_line import call
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import invocations
from PIL import Image
from ports import free_port
from registered import pyfunc
from rights import as_a_user_without_rights, unwritable
from sklearn.datasets import load_digits
from waiting import PATIENCE_S, answers, wait_for
from wrong_files import save_header

from pipelines.errors import NotFoundError
from pipelines.files.pictures import read_picture
from search.home.settings import read_settings
from search.registry.predict import predict

DIGITS = load_digits().images


def serve(home: Path, name: str, payload: str, folder: Path) -> np.ndarray:
    """What ``mlflow models serve`` answers."""
    port = free_port()
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": read_settings(home).tracking_uri,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    command = [scripts / "mlflow", "models", "serve", "-m", f"models:/{name}@champion", "--env-manager", "local"]
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: server.poll() is not None or answers(f"{address}/ping"), "the server of models")
        assert server.poll() is None, (folder / "serve.log").read_text()
        headers = {"Content-Type": "application/json"}
        answer = requests.post(f"{address}/invocations", data=payload, headers=headers, timeout=PATIENCE_S)
        assert answer.ok, answer.text
        return np.array(answer.json()["predictions"])
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(PATIENCE_S)


def test_two_hundred_pictures_get_the_same_numbers_from_all_three(home: Path, tmp_path: Path):
    x = DIGITS[-200:].astype(np.uint8)
    np.savez(tmp_path / "x.npz", x=x)

    answer = call("predict", "digits@champion", tmp_path / "x.npz", "--json", "--home", home).json()

    ours = np.array([row["probabilities"] for row in answer])
    assert ours.shape == (200, 10)
    assert np.allclose(pyfunc(home, "digits").predict(x), ours, atol=1e-5)
    assert np.allclose(serve(home, "digits", json.dumps({"inputs": x.tolist()}), tmp_path), ours, atol=1e-5)
    for row in answer:
        assert row["probability"] == max(row["probabilities"])
        assert row["label"] == str(np.argmax(row["probabilities"]))


def test_rows_of_a_table_get_their_labels_names_and_the_same_numbers(animals: Path, tmp_path: Path):
    rows = animals_table()[:40]
    rows.drop(columns="species").to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet")

    answer = call("predict", "animals", tmp_path / "rows.csv", "--json", "--home", animals).json()

    ours = np.array([row["probabilities"] for row in answer])
    assert np.mean([row["label"] for row in answer] == rows["species"]) > 0.9
    frame, loaded = pd.read_csv(tmp_path / "rows.csv"), pyfunc(animals, "animals")
    assert np.allclose(loaded.predict(frame), ours, atol=1e-5)
    payload = '{"dataframe_split": ' + frame.to_json(orient="split") + "}"
    served = invocations(payload, "application/json", loaded, loaded.metadata.get_input_schema())  # as its server does
    assert np.allclose(json.loads(served.response)["predictions"], ours, atol=1e-5)
    assert np.allclose(predict("animals", tmp_path / "rows.parquet", home=animals).probabilities, ours, atol=1e-5)


def test_one_row_of_a_table_and_one_without_a_category(animals: Path, tmp_path: Path):
    (tmp_path / "row.csv").write_text("wet,colour,count,size\nTrue,green,3,\n")
    assert predict("animals", tmp_path / "row.csv", home=animals).labels == ["bee"]
    (tmp_path / "row.csv").write_text("wet,colour,count,size\n,12,3,2.1\n")
    assert len(predict("animals", tmp_path / "row.csv", home=animals).labels) == 1


def test_texts_that_no_training_row_has_are_named(animals: Path, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("wet,colour,count,size\nTrue, green ,3,2\nTrue,mauve,3,2\nTrue,,3,2\n")
    answer = call("predict", "animals", tmp_path / "rows.csv", "--json", "--home", animals)
    assert [row.get("unknown") for row in answer.json()] == [None, {"colour": "mauve"}, None]
    assert answer.err == "column 'colour': no training row has 'mauve' (1): it counts as a rare text, or as missing\n"


READ_ONLY = """
import sys
from search.cli.app import main

for home in sys.argv[2:]:
    main(["predict", "digits", sys.argv[1], "--json", "--home", home])
    main(["models", "--json", "--home", home])
    main(["rollback", "digits", "--home", home])
"""


def test_a_home_that_can_only_be_read_predicts(home: Path, tmp_path: Path):
    """As it is mounted where models are served: one as it was made, and one that was moved."""
    plain, moved = tmp_path / "plain", tmp_path / "moved"
    for copy in (plain, moved):  # in a process of its own: closing a file here would end SQLite's locks on it
        subprocess.run(["cp", "-r", home, copy], check=True)
    expected = predict("digits", DIGITS[:3], home=plain).labels  # corrects the addresses of the copy
    np.savez(tmp_path / "x.npz", x=DIGITS[:3])
    arguments = map(str, (tmp_path / "x.npz", plain, moved))

    with unwritable(plain, moved):
        done = subprocess.run(
            as_a_user_without_rights(sys.executable, "-c", READ_ONLY, *arguments),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(printed) == 4, done.stderr
    for predicted, listed in zip(printed[::2], printed[1::2], strict=True):
        assert [row["label"] for row in predicted] == expected
        assert "digits" in [row["model"] for row in listed]
    refused = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in refused] == [["error", f"home {path}"] for path in (plain, moved)]


@pytest.mark.parametrize(("side", "mode", "dark_on_light"), [(8, "L", False), (240, "RGB", False), (100, "RGBA", True)])
def test_a_picture_of_any_size_and_colour_gets_its_class(
    home: Path, tmp_path: Path, side: int, mode: str, dark_on_light: bool
):
    for number in (0, 3, 6):
        shades = (DIGITS[number] / 16 * 255).astype(np.uint8)
        picture = Image.fromarray(255 - shades if dark_on_light else shades)
        picture.resize((side, side), Image.Resampling.NEAREST).convert(mode).save(tmp_path / "digit.png")
        options = ["--invert"] if dark_on_light else []

        answer = call("predict", "digits", tmp_path / "digit.png", "--json", "--home", home, *options).json()

        assert [row["label"] for row in answer] == [str(number)]


@pytest.mark.parametrize("size", [(1_000_000, 1), (1, 1_000_000)], ids=["wide", "tall"])
def test_a_line_of_pixels_is_padded_without_a_square_of_its_length(size: tuple[int, int], tmp_path: Path):
    Image.new("L", size, 255).save(tmp_path / "line.png")
    row = read_picture(tmp_path / "line.png", (8, 8), (0.0, 16.0))
    assert np.array_equal(row, np.full((1, 8, 8), 16.0))


def test_a_picture_that_is_its_rows_size_is_that_row(home: Path, tmp_path: Path):
    Image.fromarray((DIGITS[7] / 16 * 255).round().astype(np.uint8)).save(tmp_path / "digit.jpg", quality=100)
    found = predict("digits", tmp_path / "digit.jpg", home=home)
    assert np.abs(found.rows[0] - DIGITS[7]).max() < 0.7
    assert found.probabilities[0] == pytest.approx(predict("digits", DIGITS[7], home=home).probabilities[0], abs=0.1)


def test_a_single_example_is_a_batch_of_one_and_draws_a_figure(home: Path, tmp_path: Path):
    np.savez(tmp_path / "x.npz", x=DIGITS[4])
    answer = call("predict", "digits", tmp_path / "x.npz", "--home", home, "--figure", tmp_path / "bars.png")
    assert answer.code == 0
    assert " 4 " in answer.out
    with Image.open(tmp_path / "bars.png") as figure:
        assert figure.width > 300


def png_header(width: int, height: int) -> bytes:
    """The beginning of a picture of that size, with a first piece of its content."""
    content = zlib.compress(bytes(100))
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
              for chunk in (head, b"IDAT" + content)]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_wrong_inputs(home: Path, animals: Path, tmp_path: Path):
    def refused(model: str, file: str, *options: str, place: Path = home) -> str:
        answer = call("predict", model, tmp_path / file, "--json", "--home", place, *options)
        assert (answer.code, answer.out) == (1, "")
        assert answer.err.count("\n") == 1
        return answer.err

    np.savez(tmp_path / "flat.npz", x=np.zeros((3, 65)))
    np.savez(tmp_path / "y.npz", y=np.zeros((3, 8, 8)))
    np.savez(tmp_path / "nan.npz", x=np.full((3, 8, 8), np.nan))
    np.savez(tmp_path / "good.npz", x=DIGITS[:1])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    (tmp_path / "program.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    (tmp_path / "vast.png").write_bytes(png_header(60_000, 60_000))
    Image.new("L", (64, 64)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-30])
    (tmp_path / "row.csv").write_text("size,count\n1,2\n")
    save_header(tmp_path / "bomb.npz", f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(10**13, 8, 8)}, }}")

    assert "must fit in memory" in refused("digits", "bomb.npz")
    assert "(n_rows, 8, 8)" in refused("digits", "flat.npz")
    assert "rows as x" in refused("digits", "y.npz")
    assert "finite" in refused("digits", "nan.npz")
    assert "PNG or JPEG" in refused("digits", "bad.png")
    assert "PNG or JPEG" in refused("digits", "program.png")
    assert "complete PNG or JPEG picture" in refused("digits", "cut.png")
    assert "picture of ordinary size (Image size (3600000000 pixels) exceeds" in refused("digits", "vast.png")
    assert "archive" in refused("digits", "bad.npz")
    assert "no such file" in refused("digits", "gone.npz")
    assert "must end in" in refused("digits", "row.txt")
    assert "got a table" in refused("digits", "row.csv")
    assert "--invert" in refused("digits", "good.npz", "--invert")
    assert "alias 'best'" in refused("digits@best", "good.npz")
    assert "must be registered" in refused("nobody", "good.npz")
    assert "promote a study first" in refused("digits", "good.npz", place=tmp_path / "none")
    assert "must end in .png" in refused("digits", "good.npz", "--figure", str(tmp_path / "x.gif"))
    missing = call("predict", "animals", tmp_path / "row.csv", "--home", animals)
    assert missing.code == 1
    assert [line for line in missing.err.splitlines() if "column 'colour'" in line]
    Image.new("L", (8, 8)).save(tmp_path / "digit.png")
    assert "must take pictures" in refused("animals", "digit.png", place=animals)


def test_a_missing_folder_of_the_predictions_is_named(animals: Path, tmp_path: Path):
    animals_table()[:2].drop(columns="species").to_csv(tmp_path / "rows.csv", index=False)
    output = tmp_path / "nowhere" / "out.csv"
    answer = call("predict", "animals", tmp_path / "rows.csv", "--output", output, "--home", animals)
    assert (answer.code, answer.out) == (1, "")
    assert "directory" in answer.err
    assert "None" not in answer.err


def test_a_version_by_its_number(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, x=DIGITS[:3])
    by_alias, by_number = (predict(name, path, home=home) for name in ("digits@champion", "models:/digits/1"))
    assert by_number.version == by_alias.version == 1
    assert (by_number.probabilities == by_alias.probabilities).all()
    for name, problem in {
        "digits/7": "must have the version '7'; there is 1",
        "digits@1": "must have the alias '1'; there is champion; version 1 is digits/1",
        "digits@best": "must have the alias 'best'; there is champion",
    }.items():
        with pytest.raises(NotFoundError) as caught:
            predict(name, path, home=home)
        assert str(caught.value) == f"model 'digits': {problem}"


def test_mlflow_serves_rows_without_a_text_and_of_categories(animals: Path):
    loaded, rows = pyfunc(animals, "animals"), animals_table()[:5].drop(columns="species")
    without = rows.assign(colour=np.nan)
    assert np.array_equal(loaded.predict(without), predict("animals", without, home=animals).probabilities)
    categories = rows.assign(colour=pd.Categorical(rows["colour"]))
    assert np.array_equal(loaded.predict(categories), loaded.predict(rows))
    with pytest.raises(MlflowException, match=r"missing inputs.*colour"):
        loaded.predict(rows.drop(columns="colour"))


def test_mlflow_serves_no_rows_with_one_line(animals: Path):
    # The model brings a copy of the package, whose exceptions are other classes.
    with pytest.raises(Exception, match="rows: must hold rows to predict, got none"):
        pyfunc(animals, "animals").predict(animals_table()[:0].drop(columns="species"))


def test_rows_that_lack_what_every_training_row_has_are_named(animals: Path, tmp_path: Path):
    (tmp_path / "rows.csv").write_text("size,count,colour,wet\n1,2,red,True\n1,,red,True\n1\n")
    answer = call("predict", "animals", tmp_path / "rows.csv", "--home", animals)
    assert answer.code == 0
    assert "column 'count': missing in 2 of 3 rows, but in no training row; the median" in answer.err
    assert "rows with fewer fields than there are names: 1, the first is row 3; what they lack" in answer.err
    assert "'size'" not in answer.err, "training rows have gaps there too"
