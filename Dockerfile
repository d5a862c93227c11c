# One image a service, from one build:  make images, or docker build --target stg -t strata-stg .

# Base images by name; scripts/images.sh names others where no registry can be reached.
ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
# The image's own: rust-toolchain.toml asks for parts that only development needs.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_HOME=/usr/local/cargo
WORKDIR /src
COPY . .
# The caches stay between builds, of all clones; the binaries are copied out, because a cache mount is no part of
# the image.
RUN --mount=type=cache,id=strata-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=strata-target,target=/src/target,sharing=locked \
    scripts/containers/build.sh /out

# What the binaries need at run time comes from the build, so nothing is installed here.
FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=build /out/lib/ /usr/local/lib/
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Inside a container the address is the container's own; what is published is decided outside.
ENV HTTP_HOST=0.0.0.0 LD_LIBRARY_PATH=/usr/local/lib
# A number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001

FROM runtime AS data-source
COPY --from=build /out/bin/data-source /usr/local/bin/data-source
EXPOSE 5011
ENTRYPOINT ["/usr/local/bin/data-source"]
CMD ["serve"]

FROM runtime AS stg
COPY --from=build /out/bin/stg /usr/local/bin/stg
EXPOSE 5012
ENTRYPOINT ["/usr/local/bin/stg"]
CMD ["serve"]

FROM runtime AS dds
COPY --from=build /out/bin/dds /usr/local/bin/dds
EXPOSE 5013
ENTRYPOINT ["/usr/local/bin/dds"]
CMD ["serve"]

FROM runtime AS cdm
COPY --from=build /out/bin/cdm /usr/local/bin/cdm
EXPOSE 5014
ENTRYPOINT ["/usr/local/bin/cdm"]
CMD ["serve"]

# The control plane: the console (serve), migrations, and the operator's tool:
# docker compose run --rm strata status
FROM runtime AS strata
COPY --from=build /out/bin/strata /usr/local/bin/strata
EXPOSE 5015
ENTRYPOINT ["/usr/local/bin/strata"]
CMD ["status"]
