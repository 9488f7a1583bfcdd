# One image for every service of docker-compose.yml: the command line, MLflow's server, Optuna's dashboard and,
# with EXTRAS=server,ray, the nodes of a Ray cluster; with EXTRAS=server,gpu TensorFlow brings CUDA.
# A tag may get another content at any time; docker/pin.sh pins PYTHON_IMAGE by digest.
ARG PYTHON_IMAGE=python:3.13-slim
FROM ${PYTHON_IMAGE} AS requirements
ARG EXTRAS=server
COPY docker/requirements.py pyproject.toml ./
RUN python requirements.py "$EXTRAS" > /requirements.txt

FROM ${PYTHON_IMAGE} AS dependencies
# Only this stage and the next read a pip.conf (for a package mirror) beside this file.
ENV PIP_CONFIG_FILE=/pip.conf PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -q \
    && apt-get install -q -y --no-install-recommends binutils \
    && python -m venv --without-pip /opt/mlp-search
COPY requirements.lock pip.con[f] /
COPY --from=requirements /requirements.txt /
# TensorFlow's CPU build has the same version as the general one; its libclang and debug symbols are removed.
# The rest is compiled to bytecode once, because containers cannot write bytecode.
RUN sed -i 's/^tensorflow==/tensorflow-cpu==/p; s/^tensorflow-cpu==/tensorflow==/' /requirements.lock \
    && pip --python /opt/mlp-search install --no-compile --constraint /requirements.lock --requirement /requirements.txt \
    && cd /opt/mlp-search/lib/python3.*/site-packages \
    && rm -rf clang \
    && find tensorflow -name '*.so*' -type f -exec strip --strip-unneeded {} + \
    && find . -mindepth 2 -type d \( -name tests -o -name testing_data -o -name include \) -prune -exec rm -rf {} + \
    && find . -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.a' -o -name '*.h' -o -name '*.map' \) -delete \
    && (python -m compileall -q -j 0 --invalidation-mode unchecked-hash . > /dev/null || true)

FROM dependencies AS package
WORKDIR /src
COPY . .
RUN pip --python /opt/mlp-search install --no-deps --prefix /opt/package .

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/mlp-search/bin:$PATH \
    HOME=/var/lib/mlp-search \
    MLP_SEARCH_HOME=/var/lib/mlp-search/home \
    KERAS_HOME=/var/lib/mlp-search/keras \
    MPLCONFIGDIR=/tmp/matplotlib \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --home-dir /var/lib/mlp-search --no-create-home mlp-search \
    && install -d -o mlp-search /var/lib/mlp-search /artifacts /data
COPY --from=dependencies /opt/mlp-search /opt/mlp-search
COPY --from=package /opt/package /opt/mlp-search
COPY docker/basic_auth.ini /etc/mlp-search/basic_auth.ini
USER mlp-search
WORKDIR /data
ENTRYPOINT ["mlp-search"]
