# syntax=docker/dockerfile:1
# One image a service, from one build:
#   docker build --target stg -t strata-stg .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay between builds; the binaries are copied out, because a cache
# mount is no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/src/target \
    cargo build --release --workspace --bins --locked \
    && mkdir /out \
    && cp target/release/data-source target/release/stg target/release/dds \
          target/release/cdm target/release/strata /out/

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin strata
USER strata
# Inside a container the address is the container's own; what is published is
# decided outside.
ENV HTTP_HOST=0.0.0.0

FROM runtime AS data-source
COPY --from=build /out/data-source /usr/local/bin/data-source
EXPOSE 5011
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/local/bin/data-source", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/data-source"]
CMD ["serve"]

FROM runtime AS stg
COPY --from=build /out/stg /usr/local/bin/stg
EXPOSE 5012
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/local/bin/stg", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/stg"]
CMD ["serve"]

FROM runtime AS dds
COPY --from=build /out/dds /usr/local/bin/dds
EXPOSE 5013
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/local/bin/dds", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/dds"]
CMD ["serve"]

FROM runtime AS cdm
COPY --from=build /out/cdm /usr/local/bin/cdm
EXPOSE 5014
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s CMD ["/usr/local/bin/cdm", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/cdm"]
CMD ["serve"]

# The control plane: the console (serve), migrations, and the operator's tool:
# docker compose run --rm strata status
FROM runtime AS strata
COPY --from=build /out/strata /usr/local/bin/strata
EXPOSE 5015
ENTRYPOINT ["/usr/local/bin/strata"]
CMD ["status"]
