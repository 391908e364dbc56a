#!/usr/bin/env bats
# Controllers create pods from stored objects. A requester cannot add a stale image to these objects, and the controllers are not
# blocked.

load helpers

# replica_set_of IMAGE: prints the name of the ReplicaSet with that image.
replica_set_of() {
  admin get replicasets --output json | jq -r --arg image "$1" '.items[] | select(.spec.template.spec.containers[0].image == $image).metadata.name'
}

# roll_out_twice: creates the Deployment `web` with the image $one and updates it to $two. Sets `old` to the ReplicaSet of $one.
roll_out_twice() {
  accepted create ann "$(deployment web "$one")"
  wait_until 20 has_replica_sets 1
  accepted ann set image deployment web app="$two"
  wait_until 20 has_replica_sets 2
  old="$(replica_set_of "$one")"
  [ -n "$old" ]
}

# hold RESOURCE NAME: deletes an object that has a finalizer, so that it stays.
hold() {
  accepted ann patch "$1" "$2" --type merge --patch '{"metadata": {"finalizers": ["example.com/hold"]}}'
  accepted ann delete "$1" "$2" --wait=false
}

# template IMAGE: prints a patch that sets the image of a workload.
template() { jq -nc --arg image "$1" '{spec: {template: {spec: {containers: [{name: "app", image: $image}]}}}}'; }

@test "a ReplicaSet that is being deleted cannot be changed to a stale image" {
  namespace shipped
  local one two stale old
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  stale="$(image app stale 120)"
  roll_out_twice
  hold replicaset "$old"
  shown ann patch replicaset "$old" --patch "$(template "$stale")"
  # The next step of the attack: a rollback, in which the controller uses this template.
  ann annotate deployment web deprecated.deployment.rollback.to=1
  wait_until 20 was_rolled_back
  echo "the Deployment has $(image_of deployment web)"
  [ "$(image_of deployment web)" = "$one" ]
  refused stale-image ann patch replicaset "$old" --patch "$(template "$stale")"
}

# was_rolled_back: succeeds if the deployment controller has removed the annotation that requests a rollback.
was_rolled_back() { [ -z "$(admin get deployment web --output jsonpath='{.metadata.annotations.deprecated\.deployment\.rollback\.to}')" ]; }

@test "an object that is being deleted can be changed if its images stay the same" {
  namespace shipped
  local one two old
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  roll_out_twice
  hold replicaset "$old"
  accepted ann label replicaset "$old" team=shop
  accepted ann patch replicaset "$old" --type merge --patch '{"metadata": {"finalizers": null}}'
  wait_until 20 has_replica_sets 1
}

@test "the deployment controller cannot roll a Deployment back to a stale image" {
  own_control_plane "this test reads the audit log of the API server"
  namespace shipped
  local one two stale old
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  stale="$(image app stale 120)"
  roll_out_twice
  # Without the policies, the old ReplicaSet can get a stale image.
  judge_by none
  accepted admin patch replicaset "$old" --patch "$(template "$stale")"
  judge_by shipped
  accepted ann annotate deployment web deprecated.deployment.rollback.to=1
  local tried
  tried="$(event '.verb == "update" and .objectRef.resource == "deployments" and .objectRef.subresource == null
    and (.user.username | test("deployment-controller")) and (.annotations | tostring | test("stale-image"))')"
  [ "$(image_of deployment web)" = "$two" ]
  [ "$(annotation enforce verdict <<< "$tried")" = denied ]
  [ "$(annotation enforce findings <<< "$tried" | jq -r '.[] | select(.code == "stale-image") | "\(.code) \(.effect) \(.image)"')" = "stale-image deny $stale" ]
}

# current_revision: prints the name of the ControllerRevision from which the pods of the StatefulSet are created.
current_revision() { admin get statefulset web --output jsonpath='{.status.currentRevision}'; }

# forged REVISION NAME IMAGE: prints that ControllerRevision with another name and image.
forged() {
  admin get controllerrevision "$1" --output json | jq -c --arg name "$2" --arg image "$3" '
    .metadata |= {name: $name, labels, ownerReferences, annotations} | .revision += 1
    | .data.spec.template.spec.containers[0].image = $image'
}

@test "the current ControllerRevision of a StatefulSet cannot be replaced by one with a stale image" {
  namespace shipped
  local image stale revision forged
  image="$(image app 1 3)"
  stale="$(image app stale 120)"
  accepted create otto "$(stateful_set "$image")"
  wait_for_pods "$(pinned "$image")" "$(pinned "$image")"
  revision="$(current_revision)"
  forged="$(forged "$revision" "$revision" "$stale")"
  accepted otto delete controllerrevision "$revision"
  shown create otto "$forged"
  local answer="$output"
  remake_pods
  echo "pods: $(pod_images | paste -sd' ')"
  pods_are "$(pinned "$image")" "$(pinned "$image")"
  assert_contains "$answer" "[stale-image]"
}

@test "the status of a StatefulSet cannot be used to roll out a forged ControllerRevision with a stale image" {
  namespace shipped
  local image stale answer
  image="$(image app 1 3)"
  stale="$(image app stale 120)"
  accepted create otto "$(stateful_set "$image")"
  wait_for_pods "$(pinned "$image")" "$(pinned "$image")"
  shown create otto "$(forged "$(current_revision)" forged "$stale")"
  answer="$output"
  admin get statefulset web --output json | jq -c '.status.currentRevision = "forged"' \
    | otto replace --raw "/apis/apps/v1/namespaces/$NAMESPACE/statefulsets/web/status" --filename - > /dev/null || true
  remake_pods
  echo "pods: $(pod_images | paste -sd' ')"
  pods_are "$(pinned "$image")" "$(pinned "$image")"
  assert_contains "$answer" "[stale-image]"
}

@test "a ControllerRevision without a controller of Kubernetes is accepted, and an unreadable one of a StatefulSet is refused" {
  namespace shipped
  local other='{"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "other"}, "revision": 1, "data": {"spec": {"size": 3}}}'
  accepted create otto "$other"
  accepted create otto "$(stateful_set "$(image app 1 3)")"
  local owner
  owner="$(admin get statefulset web --output json | jq -c '{apiVersion, kind, name: .metadata.name, uid: .metadata.uid, controller: true}')"
  shown create otto "$(jq -c --argjson owner "$owner" '.metadata = {name: "forged", ownerReferences: [$owner]}' <<< "$other")"
  [ "$status" -ne 0 ]
  assert_contains "$output" "denied the request"
}

# The policies also judge the ControllerRevisions that StatefulSets and DaemonSets need.

@test "a StatefulSet can be created, updated and rolled back, also with an image that has become stale" {
  namespace none
  local stale image
  stale="$(image app stale 120)"
  image="$(image app 1 3)"
  # Only one pod, because the second one would wait until the first one is ready.
  accepted create ann "$(stateful_set "$stale" | jq -c 'del(.spec.updateStrategy) | .spec.replicas = 1')"
  wait_for_pods "$stale"
  judge_by shipped
  accepted ann set image statefulset web app="$image"
  wait_for_pods "$(pinned "$image")"
  accepted ann set env statefulset web COLOR=green
  wait_until 20 has_revisions 3
  accepted ann rollout undo statefulset web
  wait_for_pods "$(pinned "$image")"
  # A rollback to an image that has become stale is refused like any other change to it.
  refused stale-image ann rollout undo statefulset web --to-revision 1
}

@test "a DaemonSet can be created, updated and rolled back" {
  own_control_plane "this test creates a node"
  namespace shipped
  local one two
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  # A DaemonSet has a pod on each node.
  accepted create kubectl '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "e2e"}}'
  accepted create ann "$(jq -nc --arg image "$one" '{
    apiVersion: "apps/v1", kind: "DaemonSet", metadata: {name: "web"},
    spec: {selector: {matchLabels: {app: "web"}},
      template: {metadata: {labels: {app: "web"}}, spec: {containers: [{name: "app", image: $image}]}}}}')"
  wait_for_pods "$(pinned "$one")"
  accepted ann set image daemonset web app="$two"
  wait_for_pods "$(pinned "$two")"
  accepted ann rollout undo daemonset web
  wait_for_pods "$(pinned "$one")"
  has_revisions 2
  accepted kubectl delete node e2e
}
