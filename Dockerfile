# container-patch in an image, for pipelines that run in containers.
#
# A release puts the static binary on the default base, which has CA certificates and nothing to run. `make image` puts a binary of this
# machine on a base with glibc and a shell, which GitLab CI needs to start a job. `BASE=scratch` has no CA certificates: it is for `check`
# and `run` without registries, or with registries over plain HTTP.
ARG BASE=gcr.io/distroless/static-debian12:nonroot
FROM ${BASE}
ARG BASE
LABEL org.opencontainers.image.title="container-patch" \
      org.opencontainers.image.description="Judges the images of workloads with the policy that Kubewarden enforces in a cluster" \
      org.opencontainers.image.source="https://github.com/container-patch/container-patch-policy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
COPY container-patch /usr/local/bin/container-patch
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/container-patch"]
CMD ["--help"]
