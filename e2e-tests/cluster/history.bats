#!/usr/bin/env bats
# The history that `container-patch history` reads from the audit log of a real API server.

load helpers

CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"

setup() {
  own_control_plane "this test reads the audit log of the API server"
  [ -x "$CONTAINER_PATCH" ] || skip "container-patch is not built: run \`make run\`, or set CONTAINER_PATCH"
}

# history FLAG…: prints the history of the namespace of the test as JSON.
history() { "$CONTAINER_PATCH" history --namespace "$NAMESPACE" --output json "$@" "$CLUSTER/audit.log"; }

# deployments: prints what happened to Deployments, from a history on standard input: outcome, status, user, object, tag, days since the
# build, and findings.
deployments() {
  jq -r '.entries[] | select(.kind == "Deployment")
    | "\(.outcome) \(.status) \(.user) \(.operation) \(.name) \(.tag) \(.ageDays) \(.findings | map(.code) | join(","))"'
}

# is_patched REPOSITORY: succeeds if the log has a finished patch of it, and no unfinished one.
is_patched() {
  history | jq -e --arg repository "$1" '.timeToPatch.repositories[] | select(.repository == $repository) | .finished == 1 and .unfinished == 0' > /dev/null
}

@test "the history has what happened to each request, and leaves out dry runs and unchanged images" {
  namespace shipped
  local one two stale
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  stale="$(image app 0 120)"
  accepted create ann "$(deployment web "$one")"
  wait_for_pods "$(pinned "$one")"
  accepted ann scale deployment web --replicas 2
  wait_for_pods "$(pinned "$one")" "$(pinned "$one")"
  refused stale-image ann set image deployment web app="$stale"
  run ann set image deployment web app="$stale" --dry-run=server
  [ "$status" -ne 0 ]
  # The policy accepts it, and the API server refuses it, because the name is taken.
  run create ann "$(deployment web "$two")"
  [ "$status" -ne 0 ]
  accepted ann set image deployment web app="$two"
  wait_for_pods "$(pinned "$two")" "$(pinned "$two")"
  # A policy that only monitors refuses nothing.
  judge_by enforce-monitored
  accepted create otto "$(deployment old "$(image other 0 120)")"

  local expected
  expected="$(cat << 'END'
admitted 201 ann CREATE web 1 3 
denied 462 ann UPDATE web 0 120 stale-image
rejected 409 ann CREATE web 2 2 
admitted 200 ann UPDATE web 2 2 
monitored 201 otto CREATE old 0 120 stale-image
END
  )"
  diff <(history | deployments) - <<< "$expected"
  [ "$(history --only denied | deployments)" = "denied 462 ann UPDATE web 0 120 stale-image" ]
  [ "$(history --user otto | deployments)" = "monitored 201 otto CREATE old 0 120 stale-image" ]

  # Each pod has its generated name, its owner and its Deployment.
  local pods
  pods="$(history --workload Deployment/web | jq -r '.entries[] | select(.kind == "Pod") | "\(.outcome) \(.workload) \(.tag)"' | sort | uniq -c | xargs)"
  [ "$pods" = "2 admitted Deployment/web 1 2 admitted Deployment/web 2" ]
  diff <(history | jq -r '.entries[] | select(.kind == "Pod" and .tag == "2") | .name' | sort) \
    <(admin get pods --selector app=web --output json | jq -r '.items[].metadata.name' | sort)

  # The patch ends when the last pod of the old build is deleted.
  wait_until 20 is_patched "${one%:*}"
}

@test "the history says who used break-glass and why" {
  namespace break-glass
  local stale
  stale="$(image app stale 120)"
  accepted admin --as ann --as-group oncall create --filename - <<< \
    "$(deployment web "$stale" '.metadata.annotations = {"container-patch.dev/break-glass": "INC-7 payments are down"}')"
  refused stale-image create otto "$(deployment other "$stale")"
  [ "$(history --only break-glass | jq -r '.entries[] | "\(.outcome) \(.user) by \(.breakGlass.by): \(.breakGlass.reason)"')" \
    = "warned ann by rbac: INC-7 payments are down" ]
}
