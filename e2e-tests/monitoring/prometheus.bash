# Starts a Prometheus and what it scrapes on loopback, with all files in the folder LAB. To be sourced by bash.

# start NAME COMMAND…: starts a program, with its output in LAB/NAME.log.
start() {
  local name="$1"
  shift
  # Bats waits until its file descriptor 3 is closed, so the program must not inherit it.
  "$@" > "$LAB/$name.log" 2>&1 3>&- &
  echo "$!" > "$LAB/$name.pid"
}

# stop NAME: ends a program, and waits for it. Another shell can have started it.
stop() {
  local pid
  pid="$(cat "$LAB/$1.pid")"
  rm "$LAB/$1.pid"
  kill "$pid" || return 0
  wait "$pid" 2> "$LAB/wait" || true
  wait_until 20 has_ended "$pid"
}
has_ended() { ! kill -0 "$1" 2> "$LAB/kill"; }

# stop_all: ends all programs.
stop_all() {
  local file
  for file in "$LAB"/*.pid; do
    if [ -e "$file" ]; then
      file="${file##*/}"
      stop "${file%.pid}"
    fi
  done
}

# free_port: prints a free port of loopback.
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_prometheus: starts a Prometheus with LAB/prometheus.yml and the data in LAB/data. Sets PROMETHEUS (host:port).
start_prometheus() {
  start prometheus prometheus --config.file="$LAB/prometheus.yml" --storage.tsdb.path="$LAB/data" --web.listen-address=127.0.0.1:0
  wait_until 20 is_ready || { cat "$LAB/prometheus.log" >&2; return 1; }
}

is_ready() {
  PROMETHEUS="$(sed -n 's/.*msg="Listening on".*address=\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$LAB/prometheus.log")"
  [ -n "$PROMETHEUS" ] && curl -sf -o "$LAB/ready" "http://$PROMETHEUS/-/ready"
}

# ask PATH NAME=VALUE…: asks the HTTP API of Prometheus. Prints the answer, also if it is an error.
ask() {
  local path="$1" parameters=() parameter
  shift
  for parameter in "$@"; do
    parameters+=(--data-urlencode "$parameter")
  done
  curl -sS --get "http://$PROMETHEUS/api/v1/$path" "${parameters[@]}"
}

# value EXPR: prints the sum of what an instant query returns; nothing if it returns no series.
value() { ask query "query=sum($1)" | jq -r '.data.result[0].value[1] // empty'; }

# wait_until SECONDS COMMAND…: runs a command again and again until it succeeds.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "timed out: $*" >&2
      return 1
    fi
    sleep 0.2
  done
}
