"""Learning rates, what surrounds the update of a step, and pictures that move from step to step."""
