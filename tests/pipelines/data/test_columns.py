"""Columns of tables: numbers in every common form, marks of missing values, dates, declared columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from small_tables import N_ROWS, PRICES, RNG, TARGET, kinds, load, table

from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import read_table

FORMATS = {
    "decimal comma": lambda x: f"{x:.2f}".replace(".", ","),
    "thousands": lambda x: f"{x:,.2f}",
    "european": lambda x: f"{x:,.2f}".translate(str.maketrans(",.", ".,")),
    "swiss": lambda x: f"{x:,.2f}".replace(",", "'"),
    "narrow blanks": lambda x: f"{x:,.2f}".replace(",", "\u202f").replace(".", ","),
    "dollars": lambda x: f"${x:,.2f}",
    "euros": lambda x: f"{x:.2f} €".replace(".", ","),
    "code": lambda x: f"CHF {x:.2f}",
    "percent": lambda x: f"{x * 100:.0f}%",
    "blanks": lambda x: f" {x:.2f} kr ",
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_numbers_in_every_common_form_are_numbers(tmp_path: Path, write, suffix: str):
    plain = load(table(price=PRICES), tmp_path / "plain.csv")
    dataset = load(table(price=[write(x) for x in PRICES]), tmp_path / f"own{suffix}")

    assert np.allclose(dataset.training.x[:, 0], plain.training.x[:, 0], rtol=1e-6)
    assert any("column 'price': texts are read as numbers, " in note for note in dataset.notes)
    column = dataset.preprocessing.columns.columns[0]
    rows = pd.DataFrame({"price": [write(x) for x in PRICES]})
    assert np.allclose(column.encode(rows["price"])[:, 0], PRICES, rtol=1e-6), "predictions read them alike"


def test_numbers_that_a_parquet_file_holds_as_text_are_numbers(tmp_path: Path):
    dataset = load(table(price=PRICES.astype(str), few=(TARGET + 3).astype(str)), tmp_path / "own.parquet")
    assert kinds(dataset) == {"price": "numeric", "few": "numeric", "noise": "numeric"}


@pytest.mark.parametrize("row", range(0, N_ROWS, 60))
@pytest.mark.parametrize("mark", ["?", "-", "unknown", "n.a.", "#DIV/0!"])
def test_a_mark_of_a_missing_number_counts_as_missing_in_every_split(tmp_path: Path, mark: str, row: int):
    prices = PRICES.astype(str).astype(object)
    prices[row] = mark
    dataset = load(table(price=prices), tmp_path / "own.csv")
    assert kinds(dataset)["price"] == "numeric"
    assert any(f"{mark!r} (1 of 240 rows) counts as missing" in note for note in dataset.notes)


@pytest.mark.parametrize("row", range(0, N_ROWS, 60))
@pytest.mark.parametrize(("wrong", "rule"), [("many", "numbers alone"), ("inf", "finite"), ("1e400", "finite")])
def test_what_is_no_number_is_refused_in_every_split(tmp_path: Path, wrong: str, rule: str, row: int):
    prices = PRICES.astype(str).astype(object)
    prices[row] = wrong
    with pytest.raises(DataError, match=rf"column 'price': must hold .*{rule}.*1 such rows, the first {row + 1}\)"):
        load(table(price=prices), tmp_path / "own.csv")


def test_declared_columns_are_what_they_are_declared(tmp_path: Path):
    zips = np.array(["01234", "99501", "00501", "NA"])[np.arange(N_ROWS) % 4]
    frame = table(zip=zips, code=np.where(TARGET, "7", "x"), id=np.arange(N_ROWS))
    noted = load(frame.drop(columns="code").replace("NA", "1"), tmp_path / "noted.csv").notes
    assert any("column 'zip': texts with leading zeros are read as numbers" in note for note in noted)
    dataset = load(frame, tmp_path / "own.csv", text_columns=["zip"], ignore=["id"])

    zip_column, _, left_out = dataset.preprocessing.columns.columns[:3]
    assert zip_column.categories == ("00501", "01234", "99501", "NA")
    assert (left_out.kind, left_out.n_features) == ("ignored", 0)
    encoder = dataset.preprocessing.columns
    rows = read_table(tmp_path / "own.csv", encoder.text_columns, encoder.literal_columns)
    assert encoder.encode(rows)[:4, :4].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    with pytest.raises(DataError, match=r"column 'code': must hold numbers alone, got 'x' \(120 such rows"):
        load(frame, tmp_path / "own.csv", numeric=["code"])
    with pytest.raises(DataError, match=r"data.ignore must name columns of the table, got 'idd' \(did you mean 'id'"):
        load(frame, tmp_path / "own.csv", ignore=["idd"])


DAYS = pd.Series(pd.date_range("2020-01-01 06:00", periods=N_ROWS))


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%b %d, %Y %I:%M %p", ""])
def test_dates_become_features(tmp_path: Path, form: str):
    dates = DAYS.dt.strftime(form) if form else DAYS
    dataset = load(table(when=dates), tmp_path / ("own.csv" if form else "own.parquet"), scaling="standard")

    column = dataset.preprocessing.columns.columns[0]
    assert (column.kind, column.n_features) == ("date", 6)
    encoded = column.encode(pd.Series(dates[[0, 31]]))
    assert encoded[:, :5].tolist() == [[2020, 1, 1, 2, 6], [2020, 2, 1, 5, 6]]
    assert encoded[1, 5] - encoded[0, 5] == 31
    assert any("column 'when': dates become the numbers year, month, day" in note for note in dataset.notes)


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%b %d, %Y"])
def test_rows_to_predict_may_hold_real_dates_where_training_rows_held_texts(tmp_path: Path, form: str):
    dataset = load(table(when=DAYS.dt.strftime(form)), tmp_path / "own.csv")
    column = dataset.preprocessing.columns.columns[0]
    texts = column.encode(DAYS.dt.strftime(form))
    for values in (DAYS.dt.date, DAYS.dt.date.astype(pd.ArrowDtype(pa.date32())), DAYS.dt.normalize().astype(object)):
        assert np.array_equal(column.encode(values), texts)
    mixed = DAYS.dt.date.astype(object)
    mixed[:3] = [DAYS[0].strftime(form), None, "?"]
    encoded = column.encode(mixed)
    assert np.array_equal(encoded[[0, 3]], texts[[0, 3]])
    for wrong in ("2020-01-31", 20200131):
        mixed[5] = wrong
        with pytest.raises(DataError, match=r"must hold dates such as in training, got .*1 such rows, the first 6\)"):
            column.encode(mixed)


def test_a_wrong_value_among_truth_values_is_named_and_marks_are_missing(tmp_path: Path):
    dataset = load(table(sold=TARGET == 1), tmp_path / "own.csv")
    encoder = dataset.preprocessing.columns
    assert encoder.columns[0].kind == "boolean"
    cells = ["True", " false", "?", "TRUE", "1", "True"]
    for ending, path in ((".csv", tmp_path / "rows.csv"), (".parquet", tmp_path / "rows.parquet")):
        frame = pd.DataFrame({"sold": cells, "noise": 0.5})
        frame.to_csv(path, index=False) if ending == ".csv" else frame.to_parquet(path)
        rows = read_table(path, encoder.text_columns, encoder.literal_columns)
        encoded = encoder.encode(rows)[:, 0]
        assert encoded[[0, 1, 3, 4, 5]].tolist() == [1, 0, 1, 1, 1]
        assert encoded[2] == encoder.columns[0].median
        rows.loc[3, "sold"] = "maybe"
        with pytest.raises(DataError, match=r"column 'sold': .* got 'maybe' \(1 such rows, the first 4\)"):
            encoder.encode(rows)


def test_a_missing_date_is_the_median_of_the_training_rows_with_an_indicator():
    encoder = TableEncoder.learn(pd.DataFrame({"when": DAYS.mask(DAYS.index == 3)}))
    empty, first = encoder.encode(pd.DataFrame({"when": [None, DAYS[0]]}))
    assert (empty[-1], first[-1], first[5]) == (1, 0, 0)
    assert empty[5] == np.float32(np.median([day for day in range(N_ROWS) if day != 3]))


def test_differences_that_float32_would_lose_are_kept(tmp_path: Path):
    times = 1.7e9 + RNG.permutation(N_ROWS * 10)[:N_ROWS] / 10
    dataset = load(table(t=times), tmp_path / "own.csv")

    assert len(np.unique(dataset.training.x[:, 0])) == len(dataset.training.x)
    column = dataset.preprocessing.columns.columns[0]
    assert np.allclose(column.encode(pd.Series(times))[:, 0] + column.offset, times, atol=1e-3)
    assert load(table(t=times - 1.7e9), tmp_path / "plain.csv").preprocessing.columns.columns[0].offset == 0


def test_blanks_do_not_matter_and_unknown_texts_are_found():
    encoder = TableEncoder.learn(pd.DataFrame({"city": ["Rome", "Oslo"] * 20, "age": range(40)}))
    rows = pd.DataFrame({"city": [" Rome ", "Tokyo", None, "oslo"], "age": 1})
    assert encoder.encode(rows)[:, :2].tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert encoder.unknown(rows) == {"city": [None, "Tokyo", None, "oslo"]}


def test_a_column_of_a_model_of_an_earlier_version_is_read():
    record = {"name": "age", "kind": "numeric", "median": 2.0, "indicator": True, "categories": [], "reason": ""}
    encoder = TableEncoder.from_json([record])
    assert encoder.encode(pd.DataFrame({"age": [1.0, None]})).tolist() == [[1, 0], [2, 1]]


TICKETS = [f"A/5 {row % 9}" if row % 4 == 0 else str(100_000 + row % 70) for row in range(N_ROWS)]


def test_numbers_beside_other_texts_are_categories_and_one_line_says_so(tmp_path: Path):
    dataset = load(table(ticket=TICKETS), tmp_path / "own.csv")
    column = dataset.preprocessing.columns.columns[0]
    assert column.kind == "category"
    assert {"A/5 0", "100001"} <= {*column.categories, *column.others}
    (line,) = (note for note in dataset.notes if "values are numbers" in note)
    assert line.startswith("column 'ticket': 180 of 240 values are numbers, others are not, such as 'A/5 0', 'A/5 4'")
    assert "data.numeric" in line
    assert "data.ignore" in line
    with pytest.raises(DataError, match=r"column 'ticket': must hold numbers alone, got 'A/5 0' \(60 such rows"):
        load(table(ticket=TICKETS), tmp_path / "own.csv", numeric=["ticket"])


def test_dates_that_are_declared_numbers_are_named(tmp_path: Path):
    """A ``.csv`` holds texts, which are refused."""
    days = pd.date_range("2020-01-01", periods=N_ROWS)
    for values in (days, days.date):
        notes = load(table(day=values), tmp_path / "own.parquet", numeric=["day"]).notes
        assert "column 'day': data.numeric is not used, because its values are dates; convert them to numbers" in notes


@pytest.mark.parametrize(("n_others", "is_refused"), [(12, True), (13, False)])
def test_a_twentieth_of_other_texts_makes_numbers_texts(tmp_path: Path, n_others: int, is_refused: bool):
    prices = [f"call {row}" if row < n_others else str(price) for row, price in enumerate(PRICES)]
    if is_refused:
        with pytest.raises(DataError, match=r"column 'price': must hold numbers alone, got 'call 0' \(12 such rows"):
            load(table(price=prices), tmp_path / "own.csv")
    else:
        assert any(
            "227 of 240 values are numbers" in note for note in load(table(price=prices), tmp_path / "own.csv").notes
        )


def test_durations_beyond_a_day_are_seconds(tmp_path: Path):
    seconds = np.arange(N_ROWS) * 577
    texts = [f"{second // 3600}:{second // 60 % 60:02}:{second % 60:02}" for second in seconds]
    dataset = load(table(spent=texts), tmp_path / "own.csv")
    column = dataset.preprocessing.columns.columns[0]
    assert (column.kind, column.format) == ("numeric", "duration")
    rows = pd.Series([texts[-1], "1 days 02:00:00", "90", None])
    plain = TableEncoder.learn(pd.DataFrame({"spent": pd.to_timedelta(seconds, unit="s")})).columns[0]
    assert plain.encode(rows)[:3, 0].tolist() == [seconds[-1], 93_600, 90]
    assert column.format == plain.format


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_leading_zeros_that_are_lost_are_named_whatever_the_file(tmp_path: Path, suffix: str):
    zips = [f"{row % 60:05}" if row else "?" for row in range(N_ROWS)]
    for texts in (zips, zips[1:] + zips[1:2]):
        notes = load(table(zip=texts), tmp_path / f"own{suffix}").notes
        assert any("column 'zip': texts" in note and "leading zeros" in note for note in notes)
    kept = load(table(zip=zips), tmp_path / f"own{suffix}", text_columns=["zip"])
    assert not any("leading zeros" in note for note in kept.notes)


@pytest.mark.parametrize("form", ["{}:10:00", "1 days {:02}:00:00", "{} days 02:00:00"])
def test_durations_of_which_few_look_like_times_of_a_day_are_seconds(tmp_path: Path, form: str):
    texts = [form.format(10 + row % 50) for row in range(N_ROWS)]
    column = load(table(spent=texts), tmp_path / "own.csv").preprocessing.columns.columns[0]
    assert (column.kind, column.format) == ("numeric", "duration")


def test_a_date_column_may_be_empty_in_all_rows_to_predict(tmp_path: Path):
    days = pd.date_range("2020-01-01", periods=N_ROWS).astype(str)
    encoder = load(table(day=days), tmp_path / "own.csv").preprocessing.columns
    expected = encoder.encode(pd.DataFrame({"day": [None], "noise": [0.0]}))
    assert np.array_equal(encoder.encode(pd.DataFrame({"day": [np.nan], "noise": [0.0]})), expected)


@pytest.mark.parametrize("form", ["1.0", "1"])
def test_a_whole_number_is_one_category_however_it_is_written(tmp_path: Path, form: str):
    """pandas writes integers of a column with gaps as ``1.0``."""
    row = np.arange(N_ROWS)
    codes = np.where(row % 5, row % 7, np.nan)
    frame = table(code=codes)
    texts = frame.assign(code=[None if np.isnan(code) else form.replace("1", str(int(code))) for code in codes])
    encoder = load(texts, tmp_path / "own.csv", text_columns=["code"]).preprocessing.columns
    read = read_table(tmp_path / "own.csv", encoder.text_columns, encoder.literal_columns)
    for other in (frame, frame.assign(code=pd.array(codes, "Int64")), read):
        assert not encoder.unknown(other)
        assert np.array_equal(encoder.encode(other), encoder.encode(read))


@pytest.mark.parametrize("value", [5, -100, 0.5, pd.Timedelta("1D"), "yes"])
def test_a_column_of_truth_values_takes_no_other_values(value: object):
    encoder = TableEncoder.learn(pd.DataFrame({"open": [True, False] * 30}))
    assert encoder.encode(pd.DataFrame({"open": [True, 0, "False"]}, dtype=object))[:, 0].tolist() == [1, 0, 0]
    with pytest.raises(DataError, match="column 'open': must hold true or false, as in training, got"):
        encoder.encode(pd.DataFrame({"open": [value]}))


def test_complex_numbers_are_refused():
    encoder = TableEncoder.learn(pd.DataFrame({"size": PRICES}))
    with pytest.raises(DataError, match="column 'size': must hold finite float32 numbers, got complex ones"):
        encoder.encode(pd.DataFrame({"size": [1 + 5j]}))


def test_leading_zeros_of_groups_are_named(tmp_path: Path):
    frame = table(town=[("01", "1", "001", "2", "3")[row % 5] for row in range(N_ROWS)])
    line = "column 'town': texts with leading zeros are read as numbers; to keep them, put it into data.text_columns"
    assert line in load(frame, tmp_path / "own.csv", group="town").notes
    assert line not in load(frame, tmp_path / "own.csv", group="town", text_columns=["town"]).notes


@pytest.mark.parametrize("text", ["50%", "50.0 %"])
def test_percentages_are_refused_where_training_rows_held_plain_numbers(text: str, tmp_path: Path):
    frame = pd.DataFrame({"rate": np.arange(N_ROWS) / 4, "target": np.arange(N_ROWS) % 2})
    encoder = load(frame, tmp_path / "own.csv").preprocessing.columns
    rows = pd.DataFrame({"rate": ["50.0", text, None]})
    with pytest.raises(DataError, match=f"column 'rate': must hold numbers without a percent sign.* got '{text}'"):
        encoder.encode(rows)
    signed = frame.assign(rate=[f"{value}%" for value in frame["rate"]])
    assert load(signed, tmp_path / "signed.csv").preprocessing.columns.encode(rows.iloc[1:2])[0, 0] == 0.5
