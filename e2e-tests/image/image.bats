#!/usr/bin/env bats
# The image of container-patch, built and run by a Docker Engine. `run` in this folder starts these tests.

load ../helpers

# base: makes an image of the libraries that the binary needs, and of a shell.
base() {
  local root="$FOLDER/base" library
  mkdir -p "$root/bin" "$root/tmp"
  while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done < <(ldd "$CONTAINER_PATCH" /bin/sh | grep -o '/[^ :]*' | grep '\.so' | sort -u)
  cp -L /bin/sh "$root/bin/sh"
  tar -C "$root" -c . | docker import - container-patch-base:e2e
}

setup_file() {
  base
  mkdir -p "$FOLDER/context"
  # Without debug information, the build has less to copy.
  strip -o "$FOLDER/context/container-patch" "$CONTAINER_PATCH"
  docker build --quiet --build-arg BASE=container-patch-base:e2e --tag container-patch:e2e --file "$ROOT/Dockerfile" "$FOLDER/context"
}

# in_image ARG…: runs the image as a pipeline does: not as root, and with the manifests in a folder that cannot be written.
in_image() {
  run --separate-stderr docker run --rm --network none --read-only --user 65532:65532 --volume "$ROOT/examples:/work:ro" \
    --workdir /work container-patch:e2e "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

@test "the image judges manifests without root, without a writable file system and without a network" {
  in_image check shop.yaml --settings-path recorded/settings.yaml --replay-host-capabilities-interactions recorded/session.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "shop.yaml:21"
  assert_contains "$output" "[stale-image]"
}

@test "the image without a command prints the help" {
  in_image
  [ "$status" -eq 0 ]
  assert_contains "$output" "Usage: container-patch"
}

@test "a job of GitLab CI can start a shell in the image" {
  run docker run --rm --network none --entrypoint /bin/sh container-patch:e2e -c 'container-patch --version'
  [ "$status" -eq 0 ]
  [[ "$output" =~ ^container-patch\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "the image names its source and its base" {
  run docker image inspect --format '{{json .Config.Labels}}' container-patch:e2e
  [ "$(jq -r '."org.opencontainers.image.source"' <<< "$output")" = https://github.com/container-patch/container-patch-policy ]
  [ "$(jq -r '."org.opencontainers.image.base.name"' <<< "$output")" = container-patch-base:e2e ]
}
