"""What is said of a dataset that is read in a special way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from command_line import call

LINE = "note: column 'price': texts are read as numbers, '0,5' as 0.5\n"


def test_the_commands_say_how_a_table_is_read(tmp_path: Path):
    prices = [f"{number},5" for number in range(60)]
    path = tmp_path / "own.csv"
    pd.DataFrame({"price": prices, "target": np.arange(60) // 30}).to_csv(path, index=False)

    shown = call("datasets", path, "--folds", "1", "--json", "--home", tmp_path / "home")
    assert shown.json()["notes"] == [LINE.removeprefix("note: ").rstrip()]
    assert shown.err == LINE
    options = ("--width", "4", "--epochs", "1", "--home", tmp_path / "home", "--json")
    assert LINE in call("train", path, *options).err
