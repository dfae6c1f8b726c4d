{{- define "muster.name" -}}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{- end }}

{{- define "muster.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muster.labels" -}}
{{ include "muster.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: muster
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "muster.priorityClass" -}}{{ .Values.priorityClass.name | default (include "muster.name" .) }}{{- end }}


{{- define "muster.joinSecret" -}}{{ .Values.join.existingSecret | default (printf "%s-join" (include "muster.name" .)) }}{{- end }}

{{/* The token given, or the one that an earlier release was given: a change of it restarts the spoke, nothing else. */}}
{{- define "muster.joinToken" -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (printf "%s-join" (include "muster.name" .)) -}}
{{- .Values.join.token | default (dig "data" "token" "" $found | b64dec) -}}
{{- end }}

{{/* What must not be rendered at all, with the mend. */}}
{{- define "muster.check" -}}
{{- $v := .Values }}
{{- if not $v.hub.url }}
{{- fail "hub.url is empty: set the hub's REST API, https://HOST:8443" }}
{{- end }}
{{- if and $v.join.token $v.join.existingSecret }}
{{- fail "join.token and join.existingSecret are both set; leave one of them out" }}
{{- end }}
{{- if and .Release.IsInstall (not $v.persistence.keep) (not $v.join.token) (not $v.join.existingSecret) }}
{{- fail "join.token and join.existingSecret are empty: a new spoke needs a token to join; at the hub: muster cluster token NAME" }}
{{- end }}
{{- end }}

{{- define "muster.levels" -}}
{{- $pairs := list -}}
{{- range .Values.levels }}{{ $pairs = append $pairs (printf "%s=%s" .name .label) }}{{ end -}}
{{- join "," $pairs -}}
{{- end }}

{{/* The ports behind hub.url and hub.link, where no others are named. */}}
{{- define "muster.hubPorts" -}}
{{- $v := .Values -}}
{{- $host := (urlParse $v.hub.url).host -}}
{{- $rest := regexFind ":[0-9]+$" $host | trimPrefix ":" | default "443" -}}
{{- $link := regexFind ":[0-9]+$" $v.hub.link | trimPrefix ":" | default "8444" -}}
{{- range $v.networkPolicy.hubPorts | default (list $rest $link | uniq) }}
- {port: {{ . }}, protocol: TCP}
{{- end }}
{{- end }}

{{/* Rules for the kinds that policy.distributed.kinds names: by name, by a group's pattern, `builtin` or `*`. */}}
{{- define "muster.distributedRules" -}}
{{- $allowed := dig "distributed" "kinds" list .Values.policy | default list -}}
{{- range $kind, $of := .Files.Get "files/distributed-rules.yaml" | fromYaml }}
{{- $version := regexReplaceAll "/[^/]*$" $kind "/*" }}
{{- if or (has $kind $allowed) (has "*" $allowed) (has $version $allowed) (and $of.builtin (has "builtin" $allowed)) (and $of.group (has (printf "%s/*" $of.group) $allowed)) }}
# {{ $kind }}: distributed.
- apiGroups: [{{ $of.group | quote }}]
  resources: {{ toJson $of.resources }}
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
{{- end }}
{{- end }}
