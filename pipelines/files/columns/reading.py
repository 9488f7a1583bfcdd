"""Reads a text column of a table as numbers or dates: one reading for the whole column."""

from __future__ import annotations

import numpy as np

from pipelines.errors import DataError
from pipelines.files.archives import Array
from pipelines.files.columns.conversion import found
from pipelines.files.text_forms import DATE_FORMATS, DURATION, NUMBER_FORMATS, Series, are_marks, match_number, parse

MAX_CATEGORIES = 50
FEW_CATEGORIES = 10
MAX_DECLARED = 1000
TEXT, IGNORED, STRIPPED = "text", "ignored", "stripped"
"""Formats of columns that the user declares text, or leaves out; and of texts with blanks around them."""
MOST = 0.95
"""Share of a column's texts from which on the others are slips among numbers or dates, and not a kind of their own."""
_MIXED = (
    "column {!r}: {} of {} values are {}, others are not, such as {}: all are taken as texts; data.numeric refuses the"
    " others, data.ignore leaves the column out"
)
_N_SHOWN = 3
_ZEROS = "; to keep leading zeros, put the column into data.text_columns"
_N_SAMPLED = 100
_KINDS = {**dict.fromkeys(NUMBER_FORMATS, "numbers"), DURATION: "seconds"}


def is_category(n_texts: int, n_rows: int, text_format: str = "") -> bool:
    """Whether texts of a column are categories; more of them identify rows instead of describing them."""
    most = MAX_DECLARED if text_format == TEXT else min(MAX_CATEGORIES, n_rows / 2)
    return n_texts <= max(FEW_CATEGORIES, most)


def read_texts(
    values: Series, name: str, formats: tuple[str, ...], *, numeric: bool = False, may_mix: bool = True
) -> tuple[Series, str, str]:
    """Reads a column of texts as what most of them are: numbers, dates, or texts.

    Args:
        values: (n_rows,) texts; missing ones are None or NaN.
        name: The column's name.
        formats: ``NUMBER_FORMATS``, the likelier one first.
        numeric: Whether the column must hold numbers, however few do.
        may_mix: Whether texts stay texts where numbers or dates are most of them but fewer than ``MOST``.

    Returns:
        The values, as float64 or datetime64 where they are numbers or dates; their format, empty for texts; and a line
        that says how they were read.

    Raises:
        DataError: Most values, of which ``may_mix`` demands ``MOST``, are numbers or dates, but others are neither
            these nor marks of a missing value.
    """
    codes, texts = _unique_texts(values)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    marks = are_marks(texts)
    reads = _read_likely(texts, formats if numeric else (*formats, *DATE_FORMATS))
    chosen, parsed = max(reads.items(), key=lambda item: counts[item[1].notna()].sum())
    is_read = np.any([read.notna() for read in reads.values()], axis=0)  # in any of the likely formats
    n_read, n_present = counts[is_read].sum(), counts[~marks].sum()
    are_texts = not numeric and 2 * n_read <= n_present
    if (parsed.isna() & ~marks).any() and (are_texts or chosen not in NUMBER_FORMATS):
        chosen, parsed = _durations(texts, marks) or (chosen, parsed)
    if are_texts and chosen != DURATION:
        return _strip(values, name)
    others, kind = parsed.isna() & ~marks, _KINDS.get(chosen, "dates")
    stay = is_category(len(texts), len(values)) or (may_mix and n_read < MOST * n_present)
    if others.any() and not numeric and stay:
        return _as_texts(values, name, texts[~is_read & ~marks], (n_read, n_present, kind))
    if others.any():
        raise DataError(_refusal(name, kind, found(values, np.isin(codes, np.flatnonzero(others)))))
    as_well = [other for other, read in reads.items() if not read[~marks].hasnans and (read != parsed)[~marks].any()]
    line = _describe(name, kind, texts, parsed, counts, marks) + _describe_parts(texts, counts, chosen, as_well)
    read = parsed.reindex(codes).set_axis(values.index)
    read.name = values.name
    return read, chosen, line


def _as_texts(values: Series, name: str, others: Series, read: tuple[int, int, str]) -> tuple[Series, str, str]:
    """Leaves a column its texts, with a line on those that are no numbers or dates as the other ones are."""
    stripped, text_format, line = _strip(values, name)
    shown = ", ".join(map(repr, others.head(_N_SHOWN)))
    return stripped, text_format, _MIXED.format(name, *read, shown) if shown else line


def _durations(texts: Series, marks: Series) -> tuple[str, Series] | None:
    """Returns the format and seconds of texts that are all durations; some may look like times of a day."""
    present = texts[~marks]
    if present.empty or parse(present.head(_N_SAMPLED), DURATION).hasnans:  # most columns hold none
        return None
    seconds = parse(texts, DURATION)
    return None if seconds[~marks].hasnans else (DURATION, seconds)


def _refusal(name: str, kind: str, wrong: str) -> str:
    return (
        f"column {name!r}: must hold {kind} alone, got {wrong}: correct these values (all in one form), leave"
        f" missing ones empty, or declare the column in data.text_columns or data.ignore"
    )


def reread(values: Series, text_format: str) -> Series:
    """Reads (n_rows,) texts as ``read_texts`` read the column that they are from, in the format that it found."""
    if text_format in {"", TEXT, STRIPPED}:
        return values.str.strip() if text_format else values
    codes, texts = _unique_texts(values)
    return parse(texts, text_format).reindex(codes).set_axis(values.index)


def _unique_texts(values: Series) -> tuple[Array, Series]:
    """Returns each row's number of its text, -1 for a missing one, and the texts in the order in which they come."""
    import pandas as pd

    # A column of texts as objects would take several times its memory.
    if isinstance(values.dtype, pd.StringDtype):
        codes, uniques = pd.factorize(values)
        return codes, pd.Series(uniques)
    codes, uniques = pd.factorize(values.astype(object))
    return codes, pd.Series(uniques, dtype=object)


def _read_likely(texts: Series, formats: tuple[str, ...]) -> dict[str, Series]:
    """Returns the texts read as numbers or as dates, in each format that some of the first ones have.

    Dates are read where fewer than half of the texts are numbers.
    """
    sample = texts[~are_marks(texts)].head(_N_SAMPLED)
    numbers = tuple(text_format for text_format in formats if text_format in NUMBER_FORMATS)
    for kind in (numbers, formats[len(numbers) :]):
        fits = {text_format: parse(sample, text_format).notna() for text_format in kind}
        likely = [text_format for text_format in kind if fits[text_format].any()]
        if likely and 2 * np.any([fits[text_format] for text_format in likely], axis=0).sum() >= len(sample):
            return {text_format: parse(texts, text_format) for text_format in likely}
        if 2 * sample.str.contains(r"\d.*\d").sum() < len(sample):
            break  # no dates
    return {formats[0]: parse(texts, formats[0])}


def _strip(values: Series, name: str) -> tuple[Series, str, str]:
    stripped = values.str.strip()
    n_changed = int((stripped != values)[values.notna()].sum())
    if not n_changed:
        return values, "", ""
    return stripped, STRIPPED, f"column {name!r}: blanks around texts are removed, in {n_changed} rows"


def _describe(name: str, kind: str, texts: Series, parsed: Series, counts: Array, marks: Series) -> str:
    """Returns the line that says how a column was read, with an example and the marks of missing values."""
    import pandas as pd

    plain = pd.to_numeric(texts, errors="coerce").notna()
    telling = parsed.notna() & ~plain  # a text that is not a plain number says most
    if not telling.any():
        telling = parsed.notna()
    example = int(np.argmax(telling))
    value = parsed.iloc[example]
    shown = str(value) if kind == "dates" else f"{value:.15g}"
    line = f"column {name!r}: texts are read as {kind}, {texts.iloc[example]!r} as {shown}"
    if marks.any():
        line += (
            f"; {', '.join(map(repr, texts[marks]))} ({counts[marks].sum()} of {counts.sum()} rows) counts as missing"
        )
    return line


def _describe_parts(texts: Series, counts: Array, chosen: str, as_well: list[str]) -> str:
    """Returns what differs between the texts of a column: currencies, percent signs, or the order of day and month."""
    if chosen == DURATION:
        return ""
    if chosen not in NUMBER_FORMATS:
        return f"; {chosen} is taken, {as_well[0]} fits as well: write dates as 2020-12-31" if as_well else ""
    matches = [match_number(text, chosen) for text in texts]
    money = sorted({(match["money"] or match["end_money"]).upper() for match in matches if match} - {""})
    is_percent = np.array([bool(match and match["percent"]) for match in matches])
    n_percent, n_numbers = counts[is_percent].sum(), counts[[match is not None for match in matches]].sum()
    line = f"; the currencies {', '.join(money)} are not converted" if len(money) > 1 else ""
    line += f"; {n_percent} of {n_numbers} values are percentages" if 0 < n_percent < n_numbers else ""
    return line + (_ZEROS if texts.str.fullmatch(r"\s*0\d+\s*").any() else "")
