"""Separators of fields, decimal commas, and points that separate thousands beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_tables import N_ROWS, PRICES

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import read_table


def test_rows_of_a_file_with_semicolons_may_have_decimal_commas(tmp_path: Path):
    encoder = TableEncoder.learn(pd.DataFrame({"price": PRICES / 100, "size": PRICES, "age": range(N_ROWS)}))
    (path := tmp_path / "rows.csv").write_text("price;size;age\n62,178;62.178;7\n?;?;\n1,5;3;x\n")
    rows = encoder.in_own_form(read_table(path, encoder.text_columns, encoder.literal_columns))
    columns = {column.name: column for column in encoder.columns}
    price, size = (columns[name].encode(rows[name])[:, 0] for name in ("price", "size"))
    assert (price[0], price[2]) == (np.float32(62.178), 1.5)
    assert size[0] == np.float32(62.178)
    with pytest.raises(DataError, match=r"column 'age': must hold finite float32 numbers, got 'x'"):
        encoder.encode(rows)
    path.write_text('price,size,age\n"62,178",1,2\n')
    rows = encoder.in_own_form(read_table(path, encoder.text_columns, encoder.literal_columns))
    assert columns["price"].encode(rows["price"])[0, 0] == 62_178


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_points_separate_thousands_in_rows_to_predict_too(tmp_path: Path, separator: str):
    """The training file had no number above a thousand in that column, and decimal commas in another one."""
    rows = [f"{n % 40 + 1},{n % 37:02} {n % 900} {n % 3}" for n in range(N_ROWS)]
    (path := tmp_path / "own.csv").write_text("\n".join(["price stock y", *rows]).replace(" ", separator))
    encoder = loading.load(DataConfig(str(path), target="y", folds=1)).preprocessing.columns
    assert encoder
    path.write_text("\n".join(["price stock", "12,50 800", "12,50 1.000", "1,50 1.200"]).replace(" ", separator))
    found = encoder.in_own_form(read_table(path, encoder.text_columns, encoder.literal_columns))
    stock = {column.name: column for column in encoder.columns}["stock"].encode(found["stock"])[:, 0]
    assert stock.tolist() == [800, 1000, 1200]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_points_separate_thousands_where_another_column_has_decimal_commas(tmp_path: Path, separator: str):
    sizes = [("1.250", "980", "12.400", "2.000", "NA")[row % 5] for row in range(N_ROWS)]
    rows = [f"{n % 40 + 1},{n % 37:02} {size} {n % 3 + 0.5} {'ab'[n % 2]}" for n, size in enumerate(sizes)]
    (path := tmp_path / "own.csv").write_text("\n".join(["price size rate y", *rows]).replace(" ", separator))
    dataset = loading.load(DataConfig(str(path), target="y", scaling="none", folds=1))
    _, size, is_missing, rate = dataset.training.x.T
    assert set(size[is_missing == 0].tolist()) == {1250.0, 980.0, 12400.0, 2000.0}
    assert set(rate.tolist()) == {0.5, 1.5, 2.5}
    assert "column 'size': texts are read as numbers, '1.250' as 1250" in dataset.notes
    encoder = dataset.preprocessing.columns
    for line in ("1,5", "980"), ("1,5", "1.250"):
        path.write_text(separator.join(("price", "size", "rate")) + "\n" + separator.join((*line, "0.5")) + "\n")
        read = encoder.in_own_form(read_table(path, encoder.text_columns, encoder.literal_columns))
        assert encoder.encode(read)[0].tolist() == [1.5, float(line[1].replace(".", "")), 0, 0.5]


@pytest.mark.parametrize("size", ["48.100 50.999 49.250", "1.25 980 12.400"])
def test_points_that_may_be_decimal_points_are_beside_decimal_commas(tmp_path: Path, size: str):
    sizes = size.split()
    rows = [f"{row % 40 + 1},{row % 37:02};{sizes[row % 3]};{'ab'[row % 2]}" for row in range(N_ROWS)]
    (path := tmp_path / "own.csv").write_text("\n".join(["price;size;y", *rows]))
    x = loading.load(DataConfig(str(path), target="y", scaling="none", folds=1)).training.x
    assert set(x[:, 1].tolist()) == {float(np.float32(text)) for text in sizes}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\na,b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("\r\na;b\r\n1,5;2\r\n2,5;4\r\n", {"a": ["1,5", "2,5"], "b": [2, 4]}),
        ('"price\n(EUR)",b\n1,2\n3,4\n', {"price\n(EUR)": [1, 3], "b": [2, 4]}),
        ('price\n"1,250"\n"2,500"\n', {"price": ["1,250", "2,500"]}),
    ],
)
def test_the_separator_is_that_of_the_names(tmp_path: Path, text: str, expected: dict[str, list[object]]):
    (path := tmp_path / "own.csv").write_text(text, newline="")
    frame = read_table(path, (), ())
    assert frame.to_dict("list") == expected
    assert frame.attrs["separator"] == (";" if "a;b" in text else ",")


def test_one_column_of_decimal_commas_needs_no_separator(tmp_path: Path):
    encoder = TableEncoder.learn(pd.DataFrame({"price": PRICES / 100}))
    (path := tmp_path / "rows.csv").write_text("price\n1,5\n2,25\n")
    read = encoder.in_own_form(read_table(path, encoder.text_columns, encoder.literal_columns))
    assert encoder.encode(read)[:, 0].tolist() == [1.5, 2.25]
