"""From a source to a Dataset: reading, splitting, encoding."""

from pipelines.data.loading.loader import announce_size, encode, load, prepare
from pipelines.data.loading.prepared import Prepared
