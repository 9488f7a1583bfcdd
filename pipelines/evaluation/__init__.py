"""What a model is worth: metrics, tests, predictions and figures."""
