"""What the benchmark of several networks in one program says of its figures."""

from __future__ import annotations

from members import judged


def _row(width: int, members: int, ours_s: float) -> dict[str, float]:
    return {"width": width, "members": members, "ours_s": ours_s, "one_by_one_s": 0.1, "together_s": 0.2}


def test_five_networks_have_a_limit_at_each_width_up_to_128() -> None:
    rows = [_row(width, members, members * 0.01) for width in (32, 64, 128, 256) for members in (1, 5, 10)]
    limits = [(row["width"], row["limit"]) for row in judged(rows) if row["members"] == 5]
    assert limits == [(32, 2.0), (64, 2.0), (128, 3.0), (256, None)]
    assert {row["limit"] for row in judged(rows) if row["members"] != 5} == {None}


def test_the_cost_is_that_beside_one_network_of_the_same_width() -> None:
    found = judged([_row(64, 1, 0.01), _row(64, 5, 0.021), _row(128, 1, 0.02), _row(128, 5, 0.06)])
    assert [round(row["cost"], 2) for row in found] == [1.0, 2.1, 1.0, 3.0]
    assert [row["holds"] for row in found] == [None, False, None, True]
    assert round(found[0]["ours_trials"]) == 300  # 20 epochs of 10 ms


def test_without_one_network_nothing_is_judged() -> None:
    assert judged([_row(64, 5, 0.021)])[0]["holds"] is None
