"""A network as a Keras model and as ``.h5`` bytes, and the weights that it begins with."""

from pipelines.training.model.building import (
    build_model,
    build_pack,
    pack_models,
    read_checkpoint,
    restore_model,
    variables_of,
)
from pipelines.training.model.files import load_h5, to_h5
from pipelines.training.model.initial import initial_weights
from pipelines.training.model.parts import scaling_map
