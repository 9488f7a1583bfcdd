#!/bin/sh
# Pins the base images of the containers by digest: pulls each and writes its digest to .env. Needs a registry.
set -eu
for line in PYTHON_IMAGE=python:3.13-slim POSTGRES_IMAGE=postgres:17; do
  name=${line%%=*}
  image=${line#*=}
  docker pull --quiet "$image" > /dev/null
  digest=$(docker image inspect --format '{{index .RepoDigests 0}}' "$image")
  others=$(grep -v "^$name=" .env || true)
  printf '%s\n' "$others" "$name=$digest" > .env  # written in place: the file keeps its mode
done
