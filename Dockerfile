# asc-jax in a container, as a user without rights.
#
#   docker build -t asc-jax .
#   docker build -t asc-jax:cuda12 --build-arg EXTRAS=cuda12 .
#   docker run --rm -v "$PWD:/work" asc-jax COMMAND ...
FROM python:3.12-slim

# Extras of pyproject.toml, with commas between: cuda12 or cuda13, onnx, serve.
ARG EXTRAS=""

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY asc_jax /src/asc_jax
COPY configs /src/configs
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src${EXTRAS:+[$EXTRAS]}"

RUN useradd --create-home user && install --directory --owner=user /work
USER user
WORKDIR /work
ENTRYPOINT ["asc-jax"]
