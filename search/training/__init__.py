"""One configuration without a study, the job runner and forecasts."""
