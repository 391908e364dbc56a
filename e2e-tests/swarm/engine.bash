# Starts and stops a Docker Engine in Swarm mode and its authorization plugin, for `engine` and the tests. FOLDER has their files.

PLUGIN_SOCKET=/run/docker/plugins/container-patch.sock
# In a network namespace of its own, the port is free.
TLS_HOST=tcp://127.0.0.1:2376

# The time at which the policy judges. Tests move it, so that images grow old.
NOW=2026-06-30T12:00:00Z

# settings [JQ]: prints the settings of the plugin, changed by a jq program.
settings() {
  jq -n --arg now "$NOW" '{
      pinning: {action: "pin"}, schedule: {action: "deny", maxAge: "90d", warnBefore: "14d"}, baseImage: {action: "off"},
      scan: {action: "off"}, evaluateAt: $now
    } | '"${1:-.}"
}

# write_settings [JQ]: writes the settings, changed by a jq program, to the file that the plugin reads.
write_settings() { settings "${1:-.}" > "$FOLDER/settings.json"; }

# start_plugin [FLAG…]: starts the plugin, and waits until it listens. Its log is in FOLDER/plugin.log.
start_plugin() {
  local wait
  # Bats waits until its file descriptors 3 and 4 are closed, so programs in the background must not inherit them.
  "$CONTAINER_PATCH" swarm-authz --settings-path "$FOLDER/settings.json" --docker-host "$DOCKER_HOST" --insecure-registry "$REGISTRY" \
    --log-format json --metrics-address 127.0.0.1:9464 "$@" >> "$FOLDER/plugin.log" 2>&1 3>&- 4>&- &
  PLUGIN=$!
  echo "$PLUGIN" > "$FOLDER/plugin.pid"
  for wait in $(seq 1 300); do
    if is_listening; then return 0; fi
    kill -0 "$PLUGIN" 2> /dev/null || return 1
    sleep 0.1
  done
  return 1
}

# is_listening: whether the plugin answers on its socket.
is_listening() {
  curl -s --max-time 2 --unix-socket "$PLUGIN_SOCKET" -X POST -o "$FOLDER/activated" http://plugin/Plugin.Activate
}

# stop_plugin [SIGNAL]: stops the plugin, and waits until it has ended.
stop_plugin() { end_of "$FOLDER/plugin.pid" "${1:-TERM}"; }

# start_engine: starts the engine with the plugin, and waits until it answers.
start_engine() {
  local wait
  # The engine of the machine may have other settings.
  echo '{}' > "$FOLDER/daemon.json"
  dockerd --host "$DOCKER_HOST" --host "$TLS_HOST" --tlsverify --tlscacert "$FOLDER/certificates/ca.pem" \
    --tlscert "$FOLDER/certificates/engine.pem" --tlskey "$FOLDER/certificates/engine.key" --data-root "$FOLDER/data" \
    --exec-root "$FOLDER/exec" --pidfile "$FOLDER/engine-itself.pid" --config-file "$FOLDER/daemon.json" --cgroup-parent "/$CGROUP" \
    --exec-opt native.cgroupdriver=cgroupfs --authorization-plugin container-patch >> "$FOLDER/engine.log" 2>&1 3>&- 4>&- &
  ENGINE=$!
  echo "$ENGINE" > "$FOLDER/engine.pid"
  for wait in $(seq 1 600); do
    if docker info > "$FOLDER/info" 2>&1; then return 0; fi
    kill -0 "$ENGINE" 2> /dev/null || return 1
    sleep 0.1
  done
  return 1
}

# stop_engine: stops the engine, and waits until it has ended.
stop_engine() { end_of "$FOLDER/engine.pid" TERM; }

# end_of PID_FILE SIGNAL: sends a signal to a process, and waits until it has ended. It fails if that takes longer than 30 seconds.
end_of() {
  local pid wait
  pid="$(cat "$1")"
  kill -"$2" "$pid" 2> /dev/null || true
  for wait in $(seq 1 300); do
    has_ended "$pid" && return 0
    sleep 0.1
  done
  echo "process $pid has not ended after SIG$2" >&2
  return 1
}

# has_ended PID: whether a process is gone, or has ended and its parent has not noticed yet.
has_ended() { [[ ! -e "/proc/$1" || "$(cat "/proc/$1/stat" 2> /dev/null)" == *") Z "* ]]; }

# make_certificates: makes a certificate authority, a certificate for the engine, and one for each of jane and otto.
make_certificates() {
  local folder="$FOLDER/certificates" name
  mkdir -p "$folder"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout "$folder/ca.key" -out "$folder/ca.pem" 2>> "$folder/log"
  for name in engine jane otto; do
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$name" -keyout "$folder/$name.key" -out "$folder/$name.csr" 2>> "$folder/log"
    openssl x509 -req -in "$folder/$name.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -CAcreateserial -days 2 -out "$folder/$name.pem" \
      -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n') 2>> "$folder/log"
  done
}
