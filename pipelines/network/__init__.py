"""The compiled functions of a network: forward, backward, update, an epoch, an evaluation."""
