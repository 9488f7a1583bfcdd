"""The MLflow server, its login, deployment and migration."""
