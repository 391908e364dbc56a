# container-patch in an image, for pipelines that run in containers: `make image` puts a binary of this machine on a base with glibc and a
# shell, which GitLab CI needs to start a job. A base needs CA certificates, too. The image of a release has no base: release/Dockerfile.
ARG BASE=gcr.io/distroless/cc-debian12:debug-nonroot
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
