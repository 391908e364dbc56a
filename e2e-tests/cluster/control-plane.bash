# A Kubernetes control plane on loopback with policy-server as its webhook: etcd, kube-apiserver, kube-controller-manager
# and policy-server from the PATH. Without scheduler and kubelet, pods stay Pending. Bash scripts source this file.
# shellcheck disable=SC2034 # Used by the scripts that source this file.

# The programs of a control plane. `run` reports missing ones.
PROGRAMS=(etcd kube-apiserver kube-controller-manager kubectl policy-server)

# The user name of policy-server in the cluster: the service account in the files of deploy/rbac/.
POLICY_SERVER_USER=system:serviceaccount:kubewarden:policy-server

# wait_until SECONDS COMMAND…: repeats the command until it succeeds. Fails after this time.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" > /dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      return 1
    fi
    sleep 0.1
  done
}

# is_open PORT: succeeds if a program listens on this loopback port.
is_open() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# free_port: prints a random free loopback port.
free_port() {
  local port
  port="$(shuf -i 20000-60000 -n 1)"
  while is_open "$port"; do
    port="$(shuf -i 20000-60000 -n 1)"
  done
  echo "$port"
}

# start NAME COMMAND…: starts a program with its output in CLUSTER/NAME.log, and adds its process id to CLUSTER/pids.
start() {
  local name="$1"
  shift
  # bats waits until its file descriptors 3 and 4 are closed, so the program must not inherit them.
  "$@" >> "$CLUSTER/$name.log" 2>&1 < /dev/null 3>&- 4>&- &
  echo "$!" > "$CLUSTER/$name.pid"
  echo "$!" >> "$CLUSTER/pids"
}

# wait_for NAME SECONDS COMMAND…: waits until the command succeeds. Fails if the program NAME ends, or after this time.
wait_for() {
  local name="$1" seconds="$2" pid deadline
  shift 2
  pid="$(cat "$CLUSTER/$name.pid")"
  deadline=$((SECONDS + seconds))
  until "$@" > /dev/null 2>&1; do
    if ! kill -0 "$pid" 2> /dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      echo "Error: $name does not answer; the end of its log:" >&2
      tail -n 5 "$CLUSTER/$name.log" >&2
      return 1
    fi
    sleep 0.1
  done
}

# stop NAME: stops the program that was started with this name, and waits until it has ended. It can be started again.
stop() {
  local pid
  pid="$(cat "$CLUSTER/$1.pid")"
  kill "$pid" 2> /dev/null || true
  wait_until 10 ended "$pid"
}

# stop_all: stops all programs in reverse order, and waits until each has ended.
stop_all() {
  local pid
  [ -f "$CLUSTER/pids" ] || return 0
  for pid in $(tac "$CLUSTER/pids"); do
    kill "$pid" 2> /dev/null || continue
    wait_until 10 ended "$pid" || kill -KILL "$pid" 2> /dev/null || true
  done
}

# ended PID: succeeds if this process has ended.
ended() { ! kill -0 "$1" 2> /dev/null; }

# make_authority: creates the certificate authority of the control plane, and the keys for tokens of service accounts.
make_authority() {
  mkdir "$CLUSTER/pki"
  openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days 2 -subj /CN=e2e -keyout "$CLUSTER/pki/ca.key" -out "$CLUSTER/pki/ca.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,digitalSignature 2> /dev/null
  openssl genrsa -out "$CLUSTER/pki/service-accounts.key" 2048 2> /dev/null
  openssl rsa -in "$CLUSTER/pki/service-accounts.key" -pubout -out "$CLUSTER/pki/service-accounts.pub" 2> /dev/null
}

# make_certificate NAME SUBJECT EXTENSION…: creates a key, and a certificate that the authority signs.
make_certificate() {
  local file="$CLUSTER/pki/$1" subject="$2"
  shift 2
  openssl req -newkey rsa:2048 -nodes -sha256 -subj "$subject" -keyout "$file.key" -out "$file.csr" 2> /dev/null
  openssl x509 -req -sha256 -days 2 -in "$file.csr" -CA "$CLUSTER/pki/ca.crt" -CAkey "$CLUSTER/pki/ca.key" -CAcreateserial \
    -out "$file.crt" -extfile <(printf '%s\n' "$@") 2> /dev/null
}

# make_kubeconfig NAME USER [GROUP]: creates a client certificate for this user, and a kubeconfig with it.
make_kubeconfig() {
  make_certificate "$1" "/CN=$2${3:+/O=$3}" extendedKeyUsage=clientAuth
  jq -n --arg server "https://127.0.0.1:$API_PORT" --arg pki "$CLUSTER/pki" --arg name "$1" '{
      apiVersion: "v1", kind: "Config", "current-context": "e2e",
      clusters: [{name: "e2e", cluster: {server: $server, "certificate-authority": "\($pki)/ca.crt"}}],
      users: [{name: $name, user: {"client-certificate": "\($pki)/\($name).crt", "client-key": "\($pki)/\($name).key"}}],
      contexts: [{name: "e2e", context: {cluster: "e2e", user: $name}}]
    }' > "$CLUSTER/$1.kubeconfig"
}

# minor PROGRAM: prints the minor version of a Kubernetes program.
minor() { "$1" --version | sed -E 's/.* v[0-9]+\.([0-9]+).*/\1/'; }

# start_control_plane: starts etcd, kube-apiserver and kube-controller-manager. Sets API_PORT, ETCD_PORT and KUBECONFIG (of a
# cluster admin). The audit log is CLUSTER/audit.log.
start_control_plane() {
  local peer_port manager_port flags=()
  API_PORT="$(free_port)"
  ETCD_PORT="$(free_port)"
  peer_port="$(free_port)"
  manager_port="$(free_port)"
  make_authority
  make_certificate kube-apiserver /CN=kube-apiserver extendedKeyUsage=serverAuth subjectAltName=IP:127.0.0.1
  make_kubeconfig admin admin system:masters
  make_kubeconfig kube-controller-manager system:kube-controller-manager
  KUBECONFIG="$CLUSTER/admin.kubeconfig"

  start etcd etcd --name e2e --data-dir "$CLUSTER/etcd" --unsafe-no-fsync \
    --listen-client-urls "http://127.0.0.1:$ETCD_PORT" --advertise-client-urls "http://127.0.0.1:$ETCD_PORT" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
    --initial-cluster "e2e=http://127.0.0.1:$peer_port"

  # Ephemeral containers need a feature gate up to Kubernetes 1.22.
  if [ "$(minor kube-apiserver)" -lt 23 ]; then
    flags+=(--feature-gates=EphemeralContainers=true)
  fi
  start kube-apiserver kube-apiserver --bind-address=127.0.0.1 --secure-port="$API_PORT" --advertise-address=127.0.0.1 \
    --endpoint-reconciler-type=none --etcd-servers="http://127.0.0.1:$ETCD_PORT" --service-cluster-ip-range=10.96.0.0/16 \
    --tls-cert-file="$CLUSTER/pki/kube-apiserver.crt" --tls-private-key-file="$CLUSTER/pki/kube-apiserver.key" \
    --client-ca-file="$CLUSTER/pki/ca.crt" --authorization-mode=RBAC \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$CLUSTER/pki/service-accounts.key" \
    --service-account-key-file="$CLUSTER/pki/service-accounts.pub" \
    --audit-policy-file="$ROOT/deploy/audit/policy.yaml" --audit-log-path="$CLUSTER/audit.log" --audit-log-mode=blocking "${flags[@]}"
  wait_for kube-apiserver 90 kubectl --kubeconfig "$KUBECONFIG" get --raw /readyz

  flags=()
  # Up to Kubernetes 1.23 it listens on a second port without TLS, unless that port is 0.
  if [ "$(minor kube-controller-manager)" -lt 24 ]; then
    flags+=(--port=0)
  fi
  start kube-controller-manager kube-controller-manager --kubeconfig="$CLUSTER/kube-controller-manager.kubeconfig" \
    --bind-address=127.0.0.1 --secure-port="$manager_port" --cert-dir="$CLUSTER/manager" --leader-elect=false \
    --use-service-account-credentials=true --service-account-private-key-file="$CLUSTER/pki/service-accounts.key" \
    --root-ca-file="$CLUSTER/pki/ca.crt" "${flags[@]}"
  wait_for kube-controller-manager 90 kubectl --kubeconfig "$KUBECONFIG" get serviceaccount default
  # A controller aggregates the rules of the role `admin`.
  wait_for kube-controller-manager 60 has_rules admin
}

# has_rules CLUSTER_ROLE: succeeds if this ClusterRole has rules.
has_rules() { kubectl --kubeconfig "$KUBECONFIG" get clusterrole "$1" --output json | jq -e '.rules | length > 0'; }
