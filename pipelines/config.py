"""Configuration of one model: its data and its hyperparameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pipelines.objectives import Loss, Task

Scaling = Literal["auto", "minmax", "standard", "robust", "quantile", "none"]
Duplicates = Literal["keep", "group"]
GroupDraw = Literal["random", "largest_first"]
Schedule = Literal["constant", "cosine", "onecycle"]
ClassWeight = Literal["none", "balanced"]
Activation = Literal["relu", "gelu", "silu", "tanh", "selu"]
Normalization = Literal["none", "batch", "layer"]
Shape = Literal["constant", "funnel"]
Embedding = Literal["none", "piecewise"]
FUSED_OPTIMIZERS = {"sgd": "sgd", "rmsprop": "rmsprop", "adam": "adam", "adamw": "adam"}
"""The fused kernel of each optimizer that has one. It updates the weights of several networks as it does those of one;
adamw is adam with decayed weights."""
Transform = Literal["none", "log"]
Precision = Literal["float32", "bfloat16"]
AskedPrecision = Literal["auto", "float32", "bfloat16"]
DEFAULT_FRACTION = 0.2
"""Of validation rows and of test rows."""
MAX_FOLDS = 100

FEW_ROWS = 5000
"""A source with fewer rows, test rows included, has folds and starts for small networks, unless the user chooses."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """A dataset and its split.

    Attributes:
        source: ``digits``, ``mnist``, ``fashion_mnist``, or the path of a ``.npz``, ``.csv``, ``.tsv`` or ``.parquet``
            file.
        target: The label's column, for tables; None means a column named ``target``.
        validation_fraction: Share of the training rows that picks epochs and ranks trials.
        test_fraction: Share of all rows that is held out as test, if the source has no test rows of its own.
        scaling: Scaling of the inputs, learned from the training rows alone; None means ``auto``, which decides for
            each column of a table, and is ``minmax`` for arrays and pictures.
        split_seed: Seed of the split; it differs from the study's seed so that studies can share one split.
        text_columns: Columns of a table that hold text even if it looks like numbers; None means none, here and below.
        numeric: Columns of a table that hold numbers, whatever most of their values are.
        ignore: Columns of a table that are left out.
        duplicates: ``group`` keeps equal rows in one split; None means ``keep``: equal rows may be in different splits.
        group: The column of a table, or the array of a ``.npz`` file, whose equal values are kept in one split.
        weight: That of the weights of the rows in loss and metrics.
        time: That of dates or numbers by which training rows are before validation rows, and these before test rows.
        split: That of the words train, validation and test, which say what each row is.
            ``group``, ``weight`` and ``split`` are no features; ``time`` is one unless it is in ``ignore``.
        task: The type of the target; None and ``auto`` decide by its values.
        target_transform: Of the target of a regression, before it is standardized; None means ``none``.
        folds: Number of folds of all rows but the test rows, for cross-validation; 1 means one split. None leaves it to
            a rule when a study is created, and means one split otherwise.
        group_draw: How the groups of validation and test rows are drawn: None means ``random``; ``largest_first`` is
            the draw of studies of earlier versions.
    """

    source: str
    target: str | None = None
    validation_fraction: float = DEFAULT_FRACTION
    test_fraction: float = DEFAULT_FRACTION
    scaling: Scaling | None = None
    split_seed: int = 0
    text_columns: Sequence[str] | None = None
    numeric: Sequence[str] | None = None
    ignore: Sequence[str] | None = None
    duplicates: Duplicates | None = None
    group: str | None = None
    weight: str | None = None
    time: str | None = None
    split: str | None = None
    task: Task | Literal["auto"] | None = None
    target_transform: Transform | None = None
    folds: int | None = None
    group_draw: GroupDraw | None = None


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """One configuration: a point in the search space.

    Attributes:
        width: Units of each hidden layer.
        depth: Number of hidden layers. Each is Dense, normalization, noise, activation, dropout: those that it has.
        dropout: Share of units dropped after each hidden layer, from 0 to below 1.
        optimizer: Name of a Keras optimizer.
        learning_rate: Learning rate of the first step; Keras's default is 0.001 for adam and rmsprop, 0.01 for sgd.
        schedule: ``constant``, ``cosine`` for a decay to zero over the trial's epochs, or ``onecycle`` for a rise and a
            decay.
        epochs: Passes over the training rows.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        loss: Loss of a regression; None is ``mse``. Classifiers have the cross-entropy.
        class_weight: ``balanced`` weights the rows of a class by the inverse of its share, as scikit-learn does; None
            means ``none``.
        activation: Of each hidden layer. Here and below, None is what a network has that does not name it: ``relu``,
            ``none``, 0, ``constant`` or false.
        normalization: Between each hidden layer's product and its activation: ``batch`` or ``layer``.
        input_dropout: Share of the scaled inputs dropped, from 0 to below 1.
        noise: Standard deviation of Gaussian noise added before each activation, from 0 to 1.
        weight_decay: Share of each trained array that an update of rate 1 takes away, decoupled from the gradient; None
            is 0, and with adamw Keras's own.
        max_norm: Largest Euclidean norm of the weights into a unit; 0 sets no limit.
        label_smoothing: Share of the target that is spread evenly over the classes, from 0 to below 1.
        shape: Of the widths: ``funnel`` narrows from ``width`` at the first hidden layer.
        residual: Whether a hidden layer's input is added to its output where both have one width.
        ema: Momentum of the moving average of the weights that is validated and kept, from 0 to below 1; 0 for none.
        warmup: Share of the steps over which the learning rate rises, from 0 to below 1; 0 is 0.3 for ``onecycle``.
        momentum: Of sgd, from 0 to below 1.
        gradient_clip: Largest norm of the whole gradient of a step; 0 sets no limit.
        shift: Most pixels by which a picture moves at random along each axis in training.
        flip: Whether a picture is mirrored at random, left to right, in training.
        embedding: Of the numeric columns of a table: ``piecewise`` for a piecewise-linear one.
    """

    width: int = 512
    depth: int = 2
    dropout: float = 0.2
    optimizer: str = "adam"
    learning_rate: float = 0.001
    schedule: Schedule = "constant"
    epochs: int = 20
    batch_size: int = 128
    loss: Loss | None = None
    class_weight: ClassWeight | None = None
    activation: Activation | None = None
    normalization: Normalization | None = None
    input_dropout: float | None = None
    noise: float | None = None
    weight_decay: float | None = None
    max_norm: float | None = None
    label_smoothing: float | None = None
    shape: Shape | None = None
    residual: bool | None = None
    ema: float | None = None
    warmup: float | None = None
    momentum: float | None = None
    gradient_clip: float | None = None
    shift: int | None = None
    flip: bool | None = None
    embedding: Embedding | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the values by name, without those that are not named."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def without(self, names: Iterable[str]) -> Hyperparameters:
        """Returns the configuration that does not name some of what it need not name."""
        unnamed: dict[str, Any] = dict.fromkeys(names)
        return replace(self, **unnamed)

    def filled(self) -> Hyperparameters:
        """Returns the configuration with the default in place of each None that neither task nor optimizer decides."""
        given = self.to_json()
        return replace(self, **{name: value for name, value in UNNAMED.items() if name not in given})


ADAMW_DECAY = 0.004
"""The weight decay of adamw where a configuration does not name one; Keras's."""


def default_decay(optimizer: str | None) -> float:
    """Returns the weight decay of a configuration that does not name one."""
    return ADAMW_DECAY if optimizer == "adamw" else 0.0


UNNAMED: dict[str, Any] = {
    "activation": "relu",
    "normalization": "none",
    "input_dropout": 0.0,
    "noise": 0.0,
    "max_norm": 0.0,
    "label_smoothing": 0.0,
    "shape": "constant",
    "residual": False,
    "ema": 0.0,
    "warmup": 0.0,
    "momentum": 0.0,
    "gradient_clip": 0.0,
    "shift": 0,
    "flip": False,
    "embedding": "none",
}
"""The value of a hyperparameter that a configuration does not name."""


def are_pictures(input_shape: Sequence[int]) -> bool:
    """Returns whether rows of a shape are height x width, or height x width x channels, of which there are 1 to 4."""
    return len(input_shape) == 2 or (len(input_shape) == 3 and input_shape[2] <= 4)


def layer_sizes(
    hyperparameters: Hyperparameters, n_features: int, n_outputs: int, n_pieces: int = 0
) -> tuple[int, ...]:
    """Returns the number of values at the input, after each hidden layer and at the output.

    A funnel narrows from layer to layer by one share of the way from its width to the outputs, as Auto-PyTorch's does
    (Zimmer et al. 2021, arXiv:2006.13799).

    Args:
        hyperparameters: The configuration.
        n_features: Values of one flattened row.
        n_outputs: Outputs of the network.
        n_pieces: Values that an embedding adds to the features of the dataset, if the configuration has one.
    """
    width, depth = hyperparameters.width, hyperparameters.depth
    step = max(0, width - n_outputs) // depth if hyperparameters.shape == "funnel" else 0
    n_inputs = n_features + (n_pieces if hyperparameters.embedding == "piecewise" else 0)
    return (n_inputs, *(width - number * step for number in range(depth)), n_outputs)


def output_name(n_outputs: int) -> str:
    """Returns the name of the last layer: classes, or the one value of a regression."""
    return "classes" if n_outputs > 1 else "value"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name, outputs per row and number of parameters."""

    name: str
    n_outputs: int
    n_parameters: int


def layers(hyperparameters: Hyperparameters, n_features: int, n_outputs: int, n_pieces: int = 0) -> tuple[Layer, ...]:
    """Returns the layers of a configuration, input to output, named as in its ``.h5``; arguments as ``layer_sizes``."""
    hp, sizes = hyperparameters.filled(), layer_sizes(hyperparameters, n_features, n_outputs, n_pieces)
    found = [Layer("flatten", n_features, 0), Layer("scaling", n_features, 0)]
    if hp.embedding == "piecewise":
        found += [Layer("pieces", n_pieces, 0), Layer("clipped", n_pieces, 0), Layer("embedded", sizes[0], 0)]
    if hp.input_dropout:
        found.append(Layer("input_dropout", sizes[0], 0))
    for number, (n_in, n_out) in enumerate(itertools.pairwise(sizes[:-1]), 1):
        found += _hidden_layers(hp, number, n_in, n_out)
    return (*found, Layer(output_name(n_outputs), n_outputs, (sizes[-2] + 1) * n_outputs))


def _hidden_layers(hp: Hyperparameters, number: int, n_in: int, n_out: int) -> Iterator[Layer]:
    has_bias = hp.normalization != "batch"  # it would be taken away with the mean
    yield Layer(f"hidden_{number}", n_out, (n_in + has_bias) * n_out)
    if hp.normalization != "none":
        yield Layer(f"normalization_{number}", n_out, 2 * n_out)
    if hp.noise:
        yield Layer(f"noise_{number}", n_out, 0)
    if hp.noise or hp.normalization != "none":
        yield Layer(f"activation_{number}", n_out, 0)
    yield Layer(f"dropout_{number}", n_out, 0)
    if hp.residual and n_in == n_out:
        yield Layer(f"residual_{number}", n_out, 0)


def count_parameters(hyperparameters: Hyperparameters, n_features: int, n_outputs: int, n_pieces: int = 0) -> int:
    """Returns the number of trained weights of a configuration; arguments as ``layer_sizes``."""
    return sum(layer.n_parameters for layer in layers(hyperparameters, n_features, n_outputs, n_pieces))
