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

{{- define "muster.hasDatabase" -}}{{ if or .Values.database.url .Values.database.existingSecret }}yes{{ end }}{{- end }}

{{/* What must not be rendered at all, with the mend. */}}
{{- define "muster.check" -}}
{{- $v := .Values }}
{{- if gt (int $v.replicas) 1 }}
{{- if not (include "muster.hasDatabase" .) }}
{{- fail (printf "replicas is %d and there is no database: several replicas need PostgreSQL; set database.url or database.existingSecret, or replicas to 1" (int $v.replicas)) }}
{{- end }}
{{- if not $v.tls.ca.existingSecret }}
{{- fail (printf "replicas is %d and tls.ca.existingSecret is empty: every replica needs the same CA; make a Secret with ca.crt and ca.key and name it" (int $v.replicas)) }}
{{- end }}
{{- end }}
{{- if and $v.database.url $v.database.existingSecret }}
{{- fail "database.url and database.existingSecret are both set; leave one of them out" }}
{{- end }}
{{- /* Not left to the schema, whose refusals quote the value: it holds a password. */}}
{{- if not (regexMatch "^(postgresql([+][a-z0-9]+)?://.+)?$" $v.database.url) }}
{{- fail "database.url does not begin with postgresql:// or postgresql+psycopg://" }}
{{- end }}
{{- if lt (float64 $v.settings.leaseSeconds) (mulf 3 $v.settings.heartbeatSeconds) }}
{{- fail (printf "settings.leaseSeconds is %v, settings.heartbeatSeconds %v: a lease must outlast three heartbeats" $v.settings.leaseSeconds $v.settings.heartbeatSeconds) }}
{{- end }}
{{- end }}

{{/* Spokes that join through a node's port find the link at a node's port, too. */}}
{{- define "muster.grpcPublicAddress" -}}
{{- $s := .Values.service -}}
{{- .Values.grpcPublicAddress | default (printf ":%d" (int (and (eq $s.type "NodePort") $s.grpcNodePort | default $s.grpcPort))) -}}
{{- end }}

{{- define "muster.publicNames" -}}
{{- $name := include "muster.name" . -}}
{{- $own := printf "%s.%s" $name .Release.Namespace -}}
{{- concat (list $name $own (printf "%s.svc" $own) (printf "%s.svc.cluster.local" $own)) .Values.publicNames | uniq | join "," -}}
{{- end }}
