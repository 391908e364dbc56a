{{/* Each file begins with this: a key without a value is the same as an empty map. */}}
{{- define "container-patch.fill" -}}
{{- range $key := list "pin" "enforce" "schedule" "scan" "breakGlass" "settings" "extra" -}}
{{- if not (get $.Values $key) -}}{{- $_ := set $.Values $key dict -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Why the chart cannot be installed: Kubewarden is missing, or values contradict each other. */}}
{{- define "container-patch.problem" -}}
{{- if and .Values.requireKubewarden (not (.Capabilities.APIVersions.Has "policies.kubewarden.io/v1")) -}}
Kubewarden is not installed in the cluster: it does not serve policies.kubewarden.io/v1; install it: https://docs.kubewarden.io/quick-start (to render without a cluster: --api-versions policies.kubewarden.io/v1)
{{- else if gt (int .Values.timeouts.evaluation) (int .Values.timeouts.webhook) -}}
timeouts.evaluation: {{ .Values.timeouts.evaluation }} seconds are more than timeouts.webhook, {{ .Values.timeouts.webhook }}: the API server would not wait for the answer
{{- end -}}
{{- end -}}

{{- define "container-patch.module" -}}
{{- with .Values.module -}}
registry://{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default (printf "v%s" $.Chart.AppVersion) }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "container-patch.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- range $key, $value := .Values.extra.labels }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "container-patch.annotations" -}}
io.kubewarden.policy.category: Secure supply chain
io.kubewarden.policy.severity: high
{{- range $key, $value := .Values.extra.annotations }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* What both policies have in common. */}}
{{- define "container-patch.spec" -}}
module: {{ include "container-patch.module" . }}
{{- with .Values.policyServer.name }}
policyServer: {{ . }}
{{- end }}
timeoutSeconds: {{ int .Values.timeouts.webhook }}
timeoutEvalSeconds: {{ int .Values.timeouts.evaluation }}
{{- with .Values.namespaces.excluded }}
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* Settings that belong to both policies: `registries`, and what the values have of the others. */}}
{{- define "container-patch.settings.both" -}}
{{- $settings := dict "registries" .Values.registries -}}
{{- range $key := list "platforms" "exempt" "exceptions" "enforcement" "customWorkloads" "evaluateAt" -}}
{{- if hasKey $.Values.settings $key -}}{{- $_ := set $settings $key (get $.Values.settings $key) -}}{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The settings of the policy that pins: `pinning`, and no other rule. */}}
{{- define "container-patch.settings.pin" -}}
{{- $settings := fromYaml (include "container-patch.settings.both" .) -}}
{{- range $rule := list "schedule" "baseImage" "scan" -}}{{- $_ := set $settings $rule (dict "action" "off") -}}{{- end -}}
{{- $given := .Values.settings.pinning | default dict -}}
{{- $pinning := dict "templates" "record" -}}
{{- range $key, $value := $given -}}{{- $_ := set $pinning $key $value -}}{{- end -}}
{{- $_ := set $pinning "action" (include "container-patch.pins" $given) -}}
{{- $_ := set $settings "pinning" $pinning -}}
{{- with .Values.breakGlass -}}
{{- if or .groups .users .rbac -}}{{- $_ := set $settings "breakGlass" . -}}{{- end -}}
{{- end -}}
{{- /* The first override that matches an image applies, so none is left out. */ -}}
{{- $overrides := list -}}
{{- range .Values.settings.overrides -}}
{{- $override := pick . "images" "namespaces" -}}
{{- with .pinning -}}
{{- $pinning := omit . "action" -}}
{{- if hasKey . "action" -}}{{- $_ := set $pinning "action" (include "container-patch.pins" .) -}}{{- end -}}
{{- $_ := set $override "pinning" $pinning -}}
{{- end -}}
{{- $overrides = append $overrides $override -}}
{{- end -}}
{{- if $overrides -}}{{- $_ := set $settings "overrides" $overrides -}}{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The `action` of the policy that pins, from that of `pinning` in the values. YAML 1.1 reads an unquoted `off` as false. */}}
{{- define "container-patch.pins" -}}
{{- if and (hasKey . "action") (has (toString .action) (list "off" "false")) -}}off{{- else -}}pin{{- end -}}
{{- end -}}

{{/* The settings of the policy that refuses: the values, and the defaults of the keys that they leave out. */}}
{{- define "container-patch.settings.enforce" -}}
{{- $settings := fromYaml (include "container-patch.settings.both" .) -}}
{{- $schedule := dict "action" "deny" "warnBefore" "14d" -}}
{{- /* `maxAge` and `patchDays` exclude each other. */ -}}
{{- if not .Values.schedule.patchDays -}}{{- $_ := set $schedule "maxAge" "90d" -}}{{- end -}}
{{- $defaults := dict
  "pinning" (dict "action" "deny" "templates" "record")
  "schedule" $schedule
  "baseImage" (dict "action" "warn" "grace" "14d")
  "scan" (dict "action" "deny" "maxAllowed" (dict "critical" 0) "fixableOnly" true "reports" list)
  "enforcement" (dict "unchangedImages" "warn" "controllerPods" "warn" "unrecordedPods" "warn")
  "breakGlass" (dict "groups" list) -}}
{{- range $section, $keys := $defaults -}}
{{- $given := get (ternary $.Values.settings $.Values (has $section (list "pinning" "baseImage" "enforcement"))) $section | default dict -}}
{{- range $key, $value := $given -}}{{- $_ := set $keys $key $value -}}{{- end -}}
{{- $_ := set $settings $section $keys -}}
{{- end -}}
{{- $_ := set $settings "pinning" (fromYaml (include "container-patch.requires" $settings.pinning)) -}}
{{- with .Values.settings.rollout -}}{{- $_ := set $settings "rollout" . -}}{{- end -}}
{{- $overrides := list -}}
{{- range .Values.settings.overrides -}}
{{- $override := omit . "pinning" -}}
{{- with .pinning -}}{{- $_ := set $override "pinning" (fromYaml (include "container-patch.requires" .)) -}}{{- end -}}
{{- $overrides = append $overrides $override -}}
{{- end -}}
{{- if $overrides -}}{{- $_ := set $settings "overrides" $overrides -}}{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* `pinning` of the policy that refuses, which cannot pin. Templates without records are not reported with `record`. */}}
{{- define "container-patch.requires" -}}
{{- $pinning := deepCopy . -}}
{{- if eq (toString $pinning.action) "pin" -}}{{- $_ := set $pinning "action" "deny" -}}{{- end -}}
{{- if eq (toString $pinning.templates) "false" -}}{{- $_ := set $pinning "templates" "record" -}}{{- end -}}
{{- toYaml $pinning -}}
{{- end -}}

{{/* The sources of reports in the values, as keys of a map. */}}
{{- define "container-patch.sources" -}}
{{- $sources := dict -}}
{{- range concat (list (dict "scan" .Values.scan)) (.Values.settings.overrides | default list) -}}
{{- range (.scan | default dict).reports -}}{{- $_ := set $sources .source true -}}{{- end -}}
{{- end -}}
{{- toYaml $sources -}}
{{- end -}}

{{/* A ClusterRole `name` with `rules`, and its binding to the service account of the PolicyServer. */}}
{{- define "container-patch.role" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ .name }}
  labels: {{- include "container-patch.labels" .root | nindent 4 }}
rules: {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ .name }}
  labels: {{- include "container-patch.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .root.Values.policyServer.serviceAccountName }}
    namespace: {{ .root.Values.policyServer.namespace }}
{{- end -}}
