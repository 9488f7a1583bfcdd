"""Labels and examples, prepared for figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from matplotlib.figure import Figure

from pipelines.evaluation.figures import to_png
from pipelines.evaluation.figures.drawing import ELLIPSIS, UNKNOWN, draw_example, pick_examples, shortened, shown, style


def width_in_ems(text: str) -> float:
    figure = Figure(figsize=(40, 2), dpi=72)
    drawn = figure.text(0, 0, text, fontsize=20, **style())
    return float(drawn.get_window_extent().width) / 20


class TestShortened:
    @pytest.mark.parametrize("text", ["W" * 50, "i" * 200, "Schlüsselblume " * 5, "x" * 1_000_000, "é" * 90])
    def test_a_long_label_fills_its_width_and_no_more(self, text: str) -> None:
        cut = shortened(text, 8)
        assert cut.endswith(ELLIPSIS)
        assert 6.5 < width_in_ems(cut) < 9.6  # the ellipsis itself takes one

    def test_a_label_that_fits_stays_as_it_is(self) -> None:
        for text in ("Ankle boot", "$\\alpha^2$", "<b>bold</b>", "Ελληνικά", "русский", "שלום", "العربية"):
            assert shortened(text, 12) == text

    def test_lines_and_control_characters_become_one_line(self) -> None:
        assert shortened("one\r\ntwo\tthree\x00\x1b[0m\u202e", 40) == "one two three [0m"

    def test_an_empty_label_can_still_be_seen(self) -> None:
        assert shortened(" \n", 8) == "(blank)"

    def test_a_character_without_a_font_is_marked(self) -> None:
        assert shortened("a\U00013000\U00013001", 8) == f"a{UNKNOWN * 2}"  # hieroglyphs

    def test_half_a_character_is_left_out(self) -> None:
        assert shortened("a\ud800b", 8) == "a b"

    def test_a_stack_of_accents_keeps_two(self) -> None:
        assert shortened("a" + "\u0301" * 300 + "b", 8) == "a\u0301\u0301b"

    @given(st.text(max_size=60), st.floats(1, 20))
    def test_is_always_one_visible_line(self, text: str, ems: float) -> None:
        cut = shortened(text, ems)
        assert cut
        assert all(character.isprintable() for character in cut)


class TestShown:
    def test_names_that_differ_stay(self) -> None:
        assert shown(["cat", 3, np.str_("dog")], 8) == ["cat", "3", "dog"]

    def test_names_cut_to_the_same_are_numbered(self) -> None:
        names = shown([f"a species with a long name, number {i}" for i in range(3)], 6)
        assert [name.split(":")[0] for name in names] == ["0", "1", "2"]

    def test_names_no_font_has_are_numbered(self) -> None:
        assert shown(["cat", "\U00013000"], 8) == ["0: cat", f"1: {UNKNOWN}"]


class TestDrawExample:
    def test_pictures_share_black_and_white(self) -> None:
        batch = np.array([[[0, 100], [0, 100]], [[200, 100], [0, 0]]], np.uint8)
        axes = Figure().add_subplot()
        draw_example(axes, batch[0], (0, 200))
        assert np.asarray(axes.images[0].get_array()).tolist() == [[0, 0.5], [0, 0.5]]

    @pytest.mark.parametrize(("shape", "drawn"), [((4, 5), (4, 5)), ((4, 5, 1), (4, 5)), ((4, 5, 3), (4, 5, 3))])
    def test_pictures(self, shape: tuple[int, ...], drawn: tuple[int, ...]) -> None:
        axes = Figure().add_subplot()
        draw_example(axes, np.linspace(0, 1, np.prod(shape)).reshape(shape), (0, 1))
        assert np.asarray(axes.images[0].get_array()).shape == drawn

    def test_an_even_picture_is_drawn(self) -> None:
        figure = Figure()
        draw_example(figure.add_subplot(), np.full((3, 3), 7.0), (7.0, 7.0))
        assert to_png(figure)

    def test_few_numbers_are_bars_of_their_height(self) -> None:
        axes = Figure().add_subplot()
        draw_example(axes, np.array([1.5, -2.0, 0.5]), (-2, 1.5))
        assert [bar.get_height() for bar in axes.patches] == [1.5, -2.0, 0.5]

    def test_many_numbers_are_a_line(self) -> None:
        axes = Figure().add_subplot()
        draw_example(axes, np.arange(100.0), (0, 99))
        assert np.asarray(axes.lines[0].get_ydata()).tolist() == list(range(100))


def random_predictions(n_rows: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_classes), n_rows).astype(np.float32), rng.integers(0, n_classes, n_rows)


class TestExamples:
    def test_right_rows_are_right_and_wrong_rows_are_wrong(self) -> None:
        probabilities, labels = random_predictions(400, 4, seed=1)
        right, wrong = pick_examples(probabilities, labels)
        assert len(right) == len(wrong) == 9
        assert len(set(right)) == 9
        assert (probabilities[right].argmax(axis=1) == labels[right]).all()
        assert (probabilities[wrong].argmax(axis=1) != labels[wrong]).all()

    def test_wrong_rows_are_the_most_confident_mistakes_in_order(self) -> None:
        probabilities, labels = random_predictions(400, 4, seed=2)
        _, wrong = pick_examples(probabilities, labels)
        is_wrong = probabilities.argmax(axis=1) != labels
        most_confident = np.sort(probabilities[is_wrong].max(axis=1))[::-1][:9]
        assert probabilities[wrong].max(axis=1).tolist() == most_confident.tolist()

    def test_the_same_rows_are_picked_each_time(self) -> None:
        probabilities, labels = random_predictions(400, 4, seed=3)
        first, second = (tuple(pick_examples(probabilities, labels)[0]) for _ in range(2))
        assert first == second

    def test_fewer_rows_than_asked_for(self) -> None:
        probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
        right, wrong = pick_examples(probabilities, np.array([0, 1, 1, 2]))
        assert (right.tolist(), wrong.tolist()) == ([0, 1, 3], [2])

    def test_equal_confidence_keeps_the_order_of_rows(self) -> None:
        _, wrong = pick_examples(np.array([[0.9, 0.1]] * 12), np.ones(12, int), n=3)
        assert wrong.tolist() == [0, 1, 2]
