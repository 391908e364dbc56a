#!/usr/bin/env bats
# The life cycle of a Deployment with the two shipped policies.

load helpers

@test "a Deployment with tags can be created, scaled, labelled, rolled out, rolled back and deleted, and its pods are pinned" {
  namespace shipped
  local one two
  one="$(image app 1 3)"
  two="$(image app 2 2)"

  accepted create ann "$(deployment web "$one")"
  wait_for_pods "$(pinned "$one")"
  # The image field has the tag from Git.
  [ "$(image_of deployment web)" = "$one" ]

  accepted ann scale deployment web --replicas 2
  wait_for_pods "$(pinned "$one")" "$(pinned "$one")"
  accepted ann label deployment web team=shop
  accepted ann label pods --all team=shop

  # A node is drained.
  local before
  before="$(admin get pods --output name | sort | head -n 1)"
  accepted ann delete "$before" --wait=false
  wait_until 20 ended_object "$before"
  wait_for_pods "$(pinned "$one")" "$(pinned "$one")"

  accepted ann set image deployment web app="$two"
  wait_for_pods "$(pinned "$two")" "$(pinned "$two")"
  accepted ann rollout undo deployment web
  wait_for_pods "$(pinned "$one")" "$(pinned "$one")"

  accepted ann delete deployment web --wait=false
  wait_for_pods
}

# ended_object NAME: succeeds if the object does not exist or is being deleted.
ended_object() { [[ "$(admin get "$1" --output jsonpath='{.metadata.deletionTimestamp}' 2>&1)" == *?* ]]; }

@test "a stale image is refused in a new workload, in a bare pod and in an update" {
  namespace shipped
  local fresh stale
  fresh="$(image app fresh 3)"
  stale="$(image app stale 120)"
  refused stale-image create ann "$(deployment web "$stale")"
  refused stale-image create ann "$(pod shell "$stale")"
  accepted create ann "$(deployment web "$fresh")"
  refused stale-image ann set image deployment web app="$stale"
  wait_for_pods "$(pinned "$fresh")"
}

@test "a workload with an image that has become stale can be scaled, labelled, drained, repaired and deleted" {
  namespace none
  local stale other fresh
  stale="$(image app stale 120)"
  other="$(image app other 121)"
  fresh="$(image app fresh 3)"
  accepted create ann "$(deployment web "$stale")"
  wait_for_pods "$stale"
  judge_by shipped

  accepted ann scale deployment web --replicas 2
  wait_for_pods "$stale" "$(pinned "$stale")"
  accepted ann label deployment web team=shop
  accepted ann label pods --all team=shop
  accepted ann delete pods --all --wait=false
  wait_for_pods "$(pinned "$stale")" "$(pinned "$stale")"
  refused stale-image ann set image deployment web app="$other"
  accepted ann set image deployment web app="$fresh"
  wait_for_pods "$(pinned "$fresh")" "$(pinned "$fresh")"
  accepted ann delete deployment web --wait=false
  wait_for_pods
}

@test "the audit log has the judged images, the findings and the user" {
  own_control_plane "this test reads the audit log of the API server"
  namespace shipped
  local fresh stale of found
  fresh="$(image app fresh 3)"
  stale="$(image app stale 120)"
  accepted create ann "$(deployment web "$fresh")"
  wait_for_pods "$(pinned "$fresh")"
  refused stale-image ann set image deployment web app="$stale"

  # The image field of the template has no digest, so the log has the judged one.
  of="$(event '.verb == "create" and .objectRef.resource == "deployments"')"
  [ "$(jq -r .impersonatedUser.username <<< "$of")" = ann ]
  [ "$(annotation enforce verdict <<< "$of")" = accepted ]
  found="$(annotation enforce images <<< "$of")"
  [ "$(jq -r '.[] | "\(.image)@\(.digest)"' <<< "$found")" = "$(pinned "$fresh")" ]
  [ "$(jq -r '.[].sites | join(",")' <<< "$found")" = "container \`app\`" ]
  [[ "$(jq -r '.[].built' <<< "$found")" == "$(ago 3 | cut -dT -f1)"* ]]
  [ "$(annotation enforce findings <<< "$of")" = "" ]

  # The name of the pod is generated after the API server writes the request into the event.
  of="$(event '.verb == "create" and .objectRef.resource == "pods" and .objectRef.subresource == null')"
  [ "$(jq -r .objectRef.name <<< "$of")" = null ]
  found="$(annotation enforce object <<< "$of")"
  [ "$(jq -r .name <<< "$found")" = "$(kubectl get pods --namespace "$NAMESPACE" --output jsonpath='{.items[*].metadata.name}')" ]
  [[ "$(jq -r .owner <<< "$found")" == ReplicaSet/web-* ]]
  [ "$(annotation pin object <<< "$of")" = "" ]

  # The image field of the pod has the digest, so the log does not repeat it.
  of="$(event '.verb == "create" and .objectRef.resource == "pods" and .objectRef.subresource == null')"
  [ "$(annotation pin verdict <<< "$of")" = accepted ]
  [ "$(annotation enforce verdict <<< "$of")" = accepted ]
  found="$(annotation enforce images <<< "$of")"
  [ "$(jq -r '.[] | "\(.image) \(.digest)"' <<< "$found")" = "$(pinned "$fresh") null" ]

  of="$(event '.verb == "patch" and .objectRef.resource == "deployments" and .responseStatus.code >= 400')"
  [ "$(annotation enforce verdict <<< "$of")" = denied ]
  # The status tells clients and policy-server's metrics that the schedule refuses it.
  [ "$(jq -r .responseStatus.code <<< "$of")" = 462 ]
  found="$(annotation enforce findings <<< "$of")"
  [ "$(jq -r '.[] | "\(.code) \(.effect) \(.site) \(.image)"' <<< "$found")" = "stale-image deny container \`app\` $(pinned "$stale")" ]

  # The event has user, verb and object in its own fields.
  [ "$(events '.annotations | tostring | test("kubewarden.admission/request")')" = "" ]
}
