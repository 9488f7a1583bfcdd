"""The layers of a Keras model, of one network or of several side by side.

Every part has a name: Keras would number unnamed parts per process, and equal models would be unequal files. Each type
and layout is given: Keras would take the defaults of a user's keras.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import Hyperparameters, output_name
from pipelines.data.preprocessing import Preprocessing
from pipelines.network.architecture import Architecture
from pipelines.network.normalization import EPSILON, MOMENTUM
from pipelines.network.optimizers import Tensor

if TYPE_CHECKING:
    import keras


def scaling_map(preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray]:
    """Returns slope and offset of the scaling ``x * slope + offset``: float32 scalars, or (n_features,) each."""
    center, scale = (np.asarray(value, np.float64) for value in (preprocessing.center, preprocessing.scale))
    return (1 / scale).astype(np.float32), (-center / scale).astype(np.float32)


def scaling_layer(preprocessing: Preprocessing) -> keras.Layer:
    """Returns ``x * slope + offset`` as Rescaling for scalars, else as a BatchNormalization that does not train.

    Rescaling would write one slope per feature into the file's configuration, where HDF5 allows 64 KiB;
    BatchNormalization keeps them with the weights.
    """
    import keras

    slope, offset = scaling_map(preprocessing)
    if slope.ndim == 0:
        return keras.layers.Rescaling(float(slope), float(offset), dtype="float32", name="scaling")
    layer = keras.layers.BatchNormalization(epsilon=0.0, trainable=False, dtype="float32", name="scaling")
    layer.build((None, len(slope)))
    layer.set_weights([slope, offset, np.zeros_like(slope), np.ones_like(slope)])
    return layer


def embedding(x: Tensor, n_pieces: int) -> Tensor:
    """Adds the pieces of numeric columns to (n_rows, n_features) scaled inputs."""
    from keras import layers

    pieces = layers.Dense(n_pieces, trainable=False, dtype="float32", name="pieces")(x)
    clipped = layers.ReLU(max_value=1.0, dtype="float32", name="clipped")(pieces)
    return layers.Concatenate(axis=-1, dtype="float32", name="embedded")([x, clipped])


@dataclass(frozen=True, slots=True)
class Parts:
    """Makes the layers of a configuration.

    Attributes:
        hyperparameters: The configuration, with a value for each dimension.
        network: Its architecture.
        n_networks: Number of networks side by side, whose values are (n_rows, n_networks, width); None for one alone.
    """

    hyperparameters: Hyperparameters
    network: Architecture
    n_networks: int | None = None

    def dense(
        self, n_outputs: int, name: str, activation: str | None, *, is_first: bool = False, use_bias: bool = True
    ) -> keras.Layer:
        """Returns a dense layer, or one of several networks side by side."""
        import keras

        if self.n_networks is not None:
            return keras.layers.EinsumDense(
                "bi,kio->bko" if is_first else "bki,kio->bko",
                (self.n_networks, n_outputs),
                bias_axes="ko",
                activation=activation,
                dtype="float32",
                name=name,
            )
        limit = self.hyperparameters.max_norm
        more = {"kernel_constraint": keras.constraints.MaxNorm(limit, axis=0)} if limit else {}
        more |= {} if use_bias else {"use_bias": False}
        return keras.layers.Dense(n_outputs, activation=activation, dtype="float32", name=name, **more)

    def hidden(self, x: Tensor, number: int, width: int) -> Tensor:
        """Applies a hidden layer, counted from 1, to (n_rows, n_in), or (n_rows, n_networks, n_in) values."""
        from keras import layers

        hp, network = self.hyperparameters, self.network
        is_normalized = network.normalization == "layer" or (network.normalization == "batch" and not self.n_networks)
        is_apart, activation = is_normalized or network.noise, network.activation
        use_bias = network.normalization != "batch"
        dense = self.dense(
            width, f"hidden_{number}", None if is_apart else activation, is_first=number == 1, use_bias=use_bias
        )
        inputs, x = x, dense(x)
        if is_normalized:
            x = self._normalized(x, number, width)
        if network.noise:
            x = layers.GaussianNoise(hp.noise, dtype="float32", name=f"noise_{number}")(x)
        if is_apart:
            x = layers.Activation(activation, dtype="float32", name=f"activation_{number}")(x)
        x = layers.Dropout(hp.dropout, dtype="float32", name=f"dropout_{number}")(x)
        if not network.residual or not network.residual[number - 1]:
            return x
        if self.n_networks and number == 1:
            inputs = layers.RepeatVector(self.n_networks, dtype="float32", name="repeated")(inputs)
        return layers.Add(dtype="float32", name=f"residual_{number}")([x, inputs])

    def _normalized(self, x: Tensor, number: int, width: int) -> Tensor:
        from keras import layers

        name = f"normalization_{number}"
        if self.network.normalization == "batch":
            return layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, dtype="float32", name=name)(x)
        if self.n_networks is None:
            return layers.LayerNormalization(epsilon=EPSILON, dtype="float32", name=name)(x)
        x = layers.LayerNormalization(epsilon=EPSILON, center=False, scale=False, dtype="float32", name=name)(x)
        shape = (self.n_networks, width)  # of each network its own gamma and beta
        return layers.EinsumDense("bko,ko->bko", shape, bias_axes="ko", dtype="float32", name=f"scaled_{number}")(x)

    def output(self, preprocessing: Preprocessing) -> list[keras.Layer]:
        """Returns the softmax over classes, or one value and the way back to the target's own unit; then the mean."""
        import keras

        target, n_outputs = preprocessing.target, preprocessing.n_outputs
        activation = "softmax" if target is None else None
        layers = [self.dense(n_outputs, output_name(n_outputs), activation)]
        dtype = "float32" if target is None else target.dtype
        if target is not None:
            # Keras makes float32 of a layer's numbers, also where the layer computes in float64.
            center = float(np.float32(target.center)) if dtype == "float64" else 0.0
            layers.append(keras.layers.Rescaling(target.scale, target.center - center, dtype=dtype, name="unit"))
            if center:
                layers.append(keras.layers.Rescaling(1.0, center, dtype=dtype, name="center"))
            if target.transform == "log":
                layers.append(keras.layers.Activation("exponential", dtype=dtype, name="exponential"))
        if self.n_networks is not None:
            layers.append(keras.layers.GlobalAveragePooling1D("channels_last", dtype=dtype, name="mean"))
        return layers
