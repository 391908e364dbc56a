# container-patch in an image, for pipelines that run in containers. `make image` builds the binary and this image around it.
#
# BASE needs glibc (of the version that the binary was built with, or later), libgcc and CA certificates. The default also has a shell,
# which GitLab CI needs to start a job.
ARG BASE=gcr.io/distroless/cc-debian12:debug-nonroot
FROM ${BASE}
ARG BASE
LABEL org.opencontainers.image.title="container-patch" \
      org.opencontainers.image.description="Judges the images of workloads with the policy that Kubewarden enforces in a cluster" \
      org.opencontainers.image.source="https://github.com/container-patch/container-patch-policy" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
COPY container-patch /usr/local/bin/container-patch
ENTRYPOINT ["/usr/local/bin/container-patch"]
CMD ["--help"]
