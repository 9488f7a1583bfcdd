"""From a source to a Dataset: reading, splitting, encoding."""

from pipelines.data.loading.loader import (
    announce_size as announce_size,
    encode as encode,
    load as load,
    prepare as prepare,
)
from pipelines.data.loading.prepared import Prepared as Prepared
