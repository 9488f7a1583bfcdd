"""Studies, samplers, pruners and leaderboards on top of Optuna."""
