# KubeHealer's image: one static binary on an empty base.
#
# The base images are arguments, so that it can be built where no registry is reached (tests/image does), and so that the release
# workflow can pin them by the digest it resolved; the labels of the image say which ones it was built from.
ARG BUILDER=docker.io/library/rust:1.95-slim-bookworm
# CA certificates, time zones, /etc/passwd with a user 65532, /tmp: nothing else. No shell, no libc.
ARG BASE=gcr.io/distroless/static-debian12:nonroot

FROM ${BUILDER} AS build
# `release` builds in a third of the time, for a binary that is a little larger and slower.
ARG PROFILE=dist
# Set for releases: the binary then carries the list of its crates, which scanners of images read (cargo auditable).
ARG AUDITABLE=
RUN if [ -n "$AUDITABLE" ]; then cargo install --locked cargo-auditable@0.7.7; fi
WORKDIR /src
COPY . .
# Commit and date for `--version`, such as "0123456789ab 2026-12-01": the repository is not copied.
ARG COMMIT=
# Static: the C library is linked in. It needs `--target`, or build scripts and macros would be linked so too.
RUN target="$(rustc --print host-tuple)" \
    && KUBEHEALER_COMMIT="$COMMIT" RUSTFLAGS="-C target-feature=+crt-static" cargo ${AUDITABLE:+auditable} build --profile "$PROFILE" --locked --target "$target" --bin kubehealer \
    && cp "${CARGO_TARGET_DIR:-target}/$target/$PROFILE/kubehealer" /kubehealer

FROM ${BASE}
ARG BUILDER
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="KubeHealer" \
      org.opencontainers.image.description="Shows why pods fail: a read-only Kubernetes pod-failure watcher and diagnoser" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/kubehealer/kubehealer" \
      org.opencontainers.image.documentation="https://github.com/kubehealer/kubehealer#readme" \
      org.opencontainers.image.vendor="KubeHealer" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      dev.kubehealer.builder="${BUILDER}"
COPY --from=build /kubehealer /kubehealer
# A number, so that Kubernetes can check runAsNonRoot without reading the image's users.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/kubehealer"]
