"""Figures: what they show, that nothing leaves them, and their files."""

from __future__ import annotations

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from figure_layout import assert_all_inside
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from pipelines.errors import InputError, UnavailableError
from pipelines.evaluation.figures import charts as figures


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


class TestConfusionMatrix:
    def test_counts_are_written_and_shares_shaded(self) -> None:
        figure = figures.confusion_matrix([[3, 1], [0, 12345]], ["no", "yes"])
        axes = figure.axes[0]
        written = {text.get_position(): text.get_text() for text in axes.texts}
        assert written == {(0, 0): "3", (1, 0): "1", (1, 1): "12345"}
        assert np.asarray(axes.images[0].get_array()).tolist() == [[0.75, 0.25], [0, 1]]
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == (
            "predicted",
            "true",
            "Confusion matrix",
        )
        assert [label.get_text() for label in axes.get_yticklabels()] == ["no", "yes"]

    def test_a_class_without_rows_is_not_divided_by_zero(self) -> None:
        figure = figures.confusion_matrix([[5, 0], [0, 0]], ["a", "b"])
        assert np.asarray(figure.axes[0].images[0].get_array()).tolist() == [[1, 0], [0, 0]]

    @pytest.mark.parametrize("n", [2, 3, 10, 26, 50])
    def test_counts_stay_in_their_cells(self, n: int) -> None:
        rng = np.random.default_rng(n)
        figure = figures.confusion_matrix(np.diag(rng.integers(900, 10_000, n)) + 1, [f"class {i}" for i in range(n)])
        assert_all_inside(figure)
        axes = figure.axes[0]
        cell = axes.get_window_extent().width / n
        counts = [text.get_window_extent() for text in axes.texts]
        assert len(counts) == n * n
        assert max(box.width for box in counts) <= cell
        assert max(box.height for box in counts) <= cell
        labels = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert not any(a.overlaps(b) for a, b in pairwise(labels))

    def test_very_many_classes_are_shaded_alone(self) -> None:
        figure = figures.confusion_matrix(np.eye(200, dtype=int), [str(i) for i in range(200)])
        assert_all_inside(figure)
        assert not figure.axes[0].texts
        assert len(figure.axes[0].get_xticklabels()) <= 50
        assert pixels(figures.to_png(figure)).shape[0] < 2000


class TestGrids:
    names = ("ant", "bee", "cat")
    probabilities = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.2, 0.2, 0.6]], np.float32)

    def test_predicted_true_and_probability(self) -> None:
        x = np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4)
        figure = figures.prediction_grid(x, np.array([0, 2, 2]), self.probabilities, self.names)
        assert titles(figure) == [
            "predicted (70.0%) ant\ntrue ant",
            "predicted (90.0%) bee\ntrue cat",
            "predicted (60.0%) cat\ntrue cat",
        ]
        colors = [to_hex(axes.title.get_color()).upper() for axes in figure.axes]
        assert colors == [figures.BLUE, figures.VERMILION, figures.BLUE]
        assert all(len(axes.images) == 1 for axes in figure.axes)

    @pytest.mark.parametrize(("n_rows", "size"), [(9, (720, 690)), (1, (240, 230))])
    def test_the_grid_is_square(self, n_rows: int, size: tuple[int, int]) -> None:
        x = np.zeros((n_rows, 8, 8))
        probabilities = np.tile(self.probabilities[:1], (n_rows, 1))
        figure = figures.prediction_grid(x, [0] * n_rows, probabilities, self.names)
        assert len(figure.axes) == n_rows
        assert pixels(figures.to_png(figure)).shape[:2] == size

    def test_an_empty_grid_says_so(self) -> None:
        figure = figures.prediction_grid(np.zeros((0, 8, 8)), np.zeros(0, int), np.zeros((0, 3)), self.names)
        assert [text.get_text() for text in figure.texts] == ["no examples"]
        assert figures.to_png(figure)

    def test_rows_of_numbers_keep_their_scale_inside(self) -> None:
        x = np.array([[5.1, 3.5, -1.4], [5000.0, 3.0, 0.0], [0.00012, 0.0, 0.0]])
        figure = figures.prediction_grid(x, [0, 1, 2], self.probabilities, self.names)
        assert [len(axes.patches) for axes in figure.axes] == [3, 3, 3]
        assert_all_inside(figure)

    def test_examples_with_their_labels(self) -> None:
        x = np.zeros((30, 6, 6, 3), np.uint8)
        figure = figures.example_grid(x, np.arange(30) % 3, self.names)
        assert titles(figure) == [self.names[i % 3] for i in range(25)]
        assert len(figures.example_grid(x[:4], np.arange(4) % 3, self.names).axes) == 4

    def test_examples_of_a_regression_are_titled_with_their_values(self) -> None:
        figure = figures.example_grid(np.zeros((3, 4)), np.array([0.25, -3.0, 1_234_567.0]), ())
        assert titles(figure) == ["0.25", "-3", "1.23457e+06"]


class TestClassProbabilities:
    def test_a_bar_for_each_class_and_the_winner_stands_out(self) -> None:
        figure = figures.class_probabilities(np.eye(8), np.array([0.2, 0.7, 0.1]), ["ant", "bee", "cat"])
        picture, axes = figure.axes
        assert picture.get_title() == "predicted (70.0%)\nbee"
        assert len(picture.images) == 1
        assert [bar.get_width() for bar in axes.patches] == [0.2, 0.7, 0.1]
        assert [to_hex(bar.get_facecolor()).upper() == figures.BLUE for bar in axes.patches] == [
            False,
            True,
            False,
        ]
        assert [text.get_text() for text in axes.texts] == ["20.0%", "70.0%", "10.0%"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["ant", "bee", "cat"]
        assert axes.yaxis_inverted()
        assert_all_inside(figure)

    def test_of_fifty_classes_the_twenty_most_probable(self) -> None:
        probabilities = np.random.default_rng(0).dirichlet(np.ones(50))
        figure = figures.class_probabilities(np.ones(4), probabilities, [f"class {i}" for i in range(50)])
        axes = figure.axes[1]
        expected = np.sort(probabilities)[::-1][:20]
        assert [bar.get_width() for bar in axes.patches] == pytest.approx(expected)
        assert axes.get_yticklabels()[0].get_text() == f"class {probabilities.argmax()}"
        assert axes.get_title() == "Probability, the highest 20 of 50"
        assert_all_inside(figure)


class TestFiles:
    def test_the_same_input_gives_the_same_bytes_in_any_thread(self) -> None:
        def draw(_: int) -> bytes:
            return figures.to_png(figures.confusion_matrix([[3, 1], [0, 4]], ["no", "yes"]))

        with ThreadPoolExecutor(4) as threads:
            assert len(set(threads.map(draw, range(8)))) == 1

    def test_save_writes_a_png(self, tmp_path: Path) -> None:
        figure = figures.confusion_matrix([[3, 1], [0, 4]], ["no", "yes"])
        figures.save(figure, tmp_path / "figure.PNG")
        written = Image.open(tmp_path / "figure.PNG")
        assert (written.format, written.info.keys()) == ("PNG", {"dpi"})
        again = figures.confusion_matrix([[3, 1], [0, 4]], ["no", "yes"])
        assert (tmp_path / "figure.PNG").read_bytes() == figures.to_png(again)

    def test_another_ending_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"figure\.jpg: a figure's file must end in \.png"):
            figures.save(Figure(), tmp_path / "figure.jpg")
        assert not list(tmp_path.iterdir())

    def test_a_path_that_cannot_be_written_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(UnavailableError, match=r"missing/figure\.png: cannot be written \(No such file"):
            figures.save(Figure(), tmp_path / "missing" / "figure.png")

    def test_nothing_heavy_is_imported(self) -> None:
        heavy = "{'matplotlib.pyplot', 'tensorflow', 'mlflow', 'optuna', 'sklearn', 'scipy'}"
        code = f"import sys, pipelines.evaluation.figures; print(sorted({heavy} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_residuals_are_drawn_over_the_predictions_at_most_so_many() -> None:
    truth = np.arange(3 * figures.MAX_POINTS, dtype=np.float64)
    figure = figures.residuals(truth, truth - 2)
    points = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(points) == figures.MAX_POINTS
    assert points[:, 1].tolist() == [2.0] * len(points)
    assert_all_inside(figure)
