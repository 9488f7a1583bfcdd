"""From a configuration to weights, an ``.h5`` and a report for each epoch."""
