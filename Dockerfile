# Images for docker-compose.yml: the pinned stand-ins, and hallpassd with its client.

FROM python:3.11.13-slim-bookworm AS tools
COPY crates/hallpass-standins/requirements.txt /requirements.txt
RUN pip install --no-cache-dir --no-deps --only-binary=:all: --require-hashes -r /requirements.txt \
    && useradd --create-home --uid 10001 tools \
    && install -d -o tools /state
USER tools

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential cmake
COPY . /src
WORKDIR /src
# The context has no git: `--build-arg HALLPASS_COMMIT=$(git rev-parse HEAD)` tells `--version`.
ARG HALLPASS_COMMIT=unknown
RUN cargo build --locked --release

FROM debian:bookworm-20250811-slim AS hallpassd
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 hallpass
COPY --from=build /src/target/release/hallpassd /src/target/release/hallpass \
    /src/target/release/hallpass-audit /src/target/release/hallpass-policy /usr/local/bin/
USER 10001
EXPOSE 8443
CMD ["hallpassd", "--help"]
