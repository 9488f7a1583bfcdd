"""The life of one model: its data, its layers, its training, its scores."""
