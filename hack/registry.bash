# Starts a registry on loopback (docker-registry), and pushes sample images to it. To be sourced by bash.

# start_registry FOLDER [HTPASSWD]: starts a registry with its data in a folder, and waits until it answers.
# Sets REGISTRY (host:port) and REGISTRY_PID. With an htpasswd line, it requires that user.
start_registry() {
  local folder="$1" htpasswd="${2:-}" attempt wait
  for attempt in 1 2 3 4 5; do
    REGISTRY="127.0.0.1:$(shuf -i 20000-60000 -n 1)"
    cat > "$folder/registry.yml" <<EOF
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$folder/data"}}
http: {addr: "$REGISTRY"}
EOF
    if [ -n "$htpasswd" ]; then
      echo "$htpasswd" > "$folder/htpasswd"
      echo "auth: {htpasswd: {realm: test, path: \"$folder/htpasswd\"}}" >> "$folder/registry.yml"
    fi
    # Bats waits until its file descriptor 3 is closed, so the registry must not inherit it.
    docker-registry serve "$folder/registry.yml" > "$folder/registry.log" 2>&1 3>&- &
    REGISTRY_PID=$!
    for wait in $(seq 1 100); do
      if curl -s -o "$folder/answer" "http://$REGISTRY/v2/"; then
        return 0
      fi
      kill -0 "$REGISTRY_PID" 2> "$folder/answer" || break
      sleep 0.1
    done
    stop_registry
  done
  echo "Error: cannot start a registry; see $folder/registry.log" >&2
  return 1
}

# stop_registry: stops the registry that was started last.
stop_registry() {
  if [ -n "${REGISTRY_PID:-}" ]; then
    kill "$REGISTRY_PID" 2> /dev/null || true
    wait "$REGISTRY_PID" 2> /dev/null || true
    REGISTRY_PID=
  fi
}

# push_blob REPOSITORY: uploads standard input, and prints its digest and size. REGISTRY_USER is user:password.
push_blob() {
  local file digest location
  file="$(mktemp)"
  cat > "$file"
  digest="sha256:$(sha256sum "$file" | cut -d' ' -f1)"
  location="$(curl -sf ${REGISTRY_USER:+-u "$REGISTRY_USER"} -X POST -D - -o /dev/null "http://$REGISTRY/v2/$1/blobs/uploads/" \
    | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')"
  curl -sf ${REGISTRY_USER:+-u "$REGISTRY_USER"} -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$file" \
    -o /dev/null "$location&digest=$digest"
  echo "$digest $(stat -c %s "$file")"
  rm -f "$file"
}

# push_manifest REPOSITORY TAG MEDIA_TYPE: uploads the manifest on standard input, and prints its digest.
push_manifest() {
  local file
  file="$(mktemp)"
  cat > "$file"
  curl -sf ${REGISTRY_USER:+-u "$REGISTRY_USER"} -X PUT -H "Content-Type: $3" --data-binary "@$file" -o /dev/null \
    "http://$REGISTRY/v2/$1/manifests/$2"
  echo "sha256:$(sha256sum "$file" | cut -d' ' -f1)"
  rm -f "$file"
}

# push_image REPOSITORY TAG CREATED [CONFIG_JQ] [MANIFEST_JQ]: pushes an image with that build date (an empty one is left
# out), changed by jq programs, and prints the digest of its manifest. With DOCKER_TYPES=1 it has Docker's media types. With
# LAYER=FILE.tar it has the files of that archive, so that an engine can run it.
push_image() {
  local repository="$1" tag="$2" created="$3" config layer manifest_type config_type layer_type
  local files=sha256:0000000000000000000000000000000000000000000000000000000000000000
  if [ -n "${DOCKER_TYPES:-}" ]; then
    manifest_type=application/vnd.docker.distribution.manifest.v2+json
    config_type=application/vnd.docker.container.image.v1+json
    layer_type=application/vnd.docker.image.rootfs.diff.tar.gzip
  else
    manifest_type=application/vnd.oci.image.manifest.v1+json
    config_type=application/vnd.oci.image.config.v1+json
    layer_type=application/vnd.oci.image.layer.v1.tar+gzip
  fi
  if [ -n "${LAYER:-}" ]; then
    files="sha256:$(sha256sum "$LAYER" | cut -d' ' -f1)"
    layer="$(gzip -n < "$LAYER" | push_blob "$repository")"
  else
    layer="$(printf 'no files' | gzip -n | push_blob "$repository")"
  fi
  config="$(jq -nc --arg created "$created" --arg tag "$repository:$tag" --arg files "$files" '{
      architecture: "amd64", os: "linux", config: {Labels: {name: $tag}}, rootfs: {type: "layers", diff_ids: [$files]}
    } + (if $created == "" then {} else {created: $created} end) | '"${4:-.}" | push_blob "$repository")"
  jq -nc --arg manifest "$manifest_type" --arg config "$config_type" --arg layer "$layer_type" \
    --arg c "$config" --arg l "$layer" '
    def descriptor($type): split(" ") | {mediaType: $type, digest: .[0], size: (.[1] | tonumber)};
    {schemaVersion: 2, mediaType: $manifest, config: ($c | descriptor($config)), layers: [$l | descriptor($layer)]}
    | '"${5:-.}" | push_manifest "$repository" "$tag" "$manifest_type"
}

# push_index REPOSITORY TAG DIGEST…: pushes an index of manifests in the repository, the first for linux/amd64, the others for
# linux/arm64, and prints its digest.
push_index() {
  local repository="$1" tag="$2" digest type manifest_type first=amd64 entries=()
  shift 2
  if [ -n "${DOCKER_TYPES:-}" ]; then
    type=application/vnd.docker.distribution.manifest.list.v2+json
    manifest_type=application/vnd.docker.distribution.manifest.v2+json
  else
    type=application/vnd.oci.image.index.v1+json
    manifest_type=application/vnd.oci.image.manifest.v1+json
  fi
  for digest in "$@"; do
    entries+=("$(jq -nc --arg type "$manifest_type" --arg digest "$digest" --arg architecture "$first" \
      --argjson size "$(curl -sf ${REGISTRY_USER:+-u "$REGISTRY_USER"} -H "Accept: $manifest_type" "http://$REGISTRY/v2/$repository/manifests/$digest" | wc -c)" \
      '{mediaType: $type, digest: $digest, size: $size, platform: {os: "linux", architecture: $architecture}}')")
    first=arm64
  done
  printf '%s\n' "${entries[@]}" | jq -sc --arg type "$type" '{schemaVersion: 2, mediaType: $type, manifests: .}' \
    | push_manifest "$repository" "$tag" "$type"
}
