# The simulator for campaigns: one binary with every scenario in it, and buckets (`s3://`); beside it the fuzz bodies.
#
#   docker build --file ci/docker/sim.Dockerfile --tag fairway-sim .
#   docker run --rm --volume "$PWD/camp:/campaign" fairway-sim campaign plan smoke --seeds 40000 --shards 8 --out /campaign
#
# The build id covers compiler and features, so a plan belongs to the image that made it: plan, run and merge with the same one.

# The version of rust-toolchain.toml; the file itself stays outside, because it would fetch lints and a formatter too.
FROM rust:1.95.0-slim-bookworm AS build
# libsecp256k1 and the TLS of buckets are built from C.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake gcc g++ libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /fairway
COPY . .
# One after the other: built together, the fuzz bodies would run over a core with planted bugs.
RUN cargo build --locked --release --package fairway-sim --features s3 \
    && cargo build --locked --release --package fairway-fuzz

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home fairway \
    && install --directory --owner=fairway /campaign
COPY --from=build /fairway/target/release/fairway-sim /fairway/target/release/fairway-fuzz /usr/local/bin/
USER 10001
WORKDIR /campaign
ENTRYPOINT ["fairway-sim"]
CMD ["--help"]
