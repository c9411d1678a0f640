{{- define "zerda.labels" -}}
app.kubernetes.io/name: zerda
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "service.commonLabels" (list . .Chart.AppVersion) }}
{{- end -}}

{{- define "zerda.natsLabels" -}}
{{ include "service.natsSelectorLabels" . }}
{{ include "service.commonLabels" (list . (include "service.versionOf" (list .Values.global.nats.bundled.image ""))) }}
{{- end -}}

{{- define "zerda.valkeyLabels" -}}
{{ include "service.valkeySelectorLabels" . }}
{{ include "service.commonLabels" (list . (include "service.versionOf" (list .Values.global.valkey.bundled.image ""))) }}
{{- end -}}

{{/* Fails with a clear message when the release's stored values lack values of this chart; a template would fail with a nil pointer. */}}
{{- define "zerda.requireDefaults" -}}
{{- if not (and .Values.global.auth (hasKey (dig "bundled" dict (.Values.global.nats | default dict)) "servicePasswordKeys") .Values.global.valkey .Values.global.mesh) -}}
{{- fail "The values of the installed release lack defaults of this chart version. Upgrade with --reset-then-reuse-values instead of --reuse-values." -}}
{{- end -}}
{{- end -}}

{{/* Selects the pods of services whose `<value>.enabled` is true, as entries of `from`: (list $ "events"). */}}
{{- define "zerda.servicesWith" -}}
{{- $root := index . 0 -}}
{{- range include "zerda.namesWith" . | fromJsonArray }}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ . }}
      app.kubernetes.io/instance: {{ $root.Release.Name }}
      app.kubernetes.io/component: service
{{- end }}
{{- end -}}

{{/* Names of the services whose `<value>.enabled` is true, as a JSON list: (list $ "events"). */}}
{{- define "zerda.namesWith" -}}
{{- $value := index . 1 -}}
{{- $names := list -}}
{{- range $service, $chart := (index . 0).Subcharts -}}
{{- if dig $value "enabled" false $chart.Values.AsMap -}}
{{- $names = append $names $service -}}
{{- end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{- define "zerda.natsConfiguration" -}}
port: 4222
# For probes only: network policies allow no other connections to it.
http: 8222
jetstream {
  store_dir: /data
  {{- range $setting, $value := .Values.global.nats.bundled.jetstream }}
  {{ $setting }}: {{ $value }}
  {{- end }}
}
include ./nats-users.conf
{{- end -}}

{{/* Returns a JSON list of the users in files/nats-users.conf: `zerda`, the user for operators, and services. */}}
{{- define "zerda.natsUsers" -}}
{{- $users := list -}}
{{- range regexFindAll "\\buser: [a-z0-9-]+" (.Files.Get "files/nats-users.conf") -1 -}}
{{- $users = append $users (trimPrefix "user: " .) -}}
{{- end -}}
{{- toJson $users -}}
{{- end -}}

{{/* Returns a JSON dictionary of the variables of files/nats-users.conf and the Secret keys of their passwords. */}}
{{- define "zerda.natsPasswords" -}}
{{- $keys := dict "PASSWORD" .Values.global.nats.bundled.passwordKey -}}
{{- range without (include "zerda.natsUsers" . | fromJsonArray) "zerda" -}}
{{- $_ := set $keys (printf "%s_PASSWORD" (. | upper | replace "-" "_")) (include "service.natsPasswordKey" (list $ .)) -}}
{{- end -}}
{{- toJson $keys -}}
{{- end -}}

{{/* Full name of the gateway. */}}
{{- define "zerda.gatewayName" -}}
{{- .Values.gateway.fullnameOverride | default (include "service.fullnameOf" (list . "gateway")) -}}
{{- end -}}

{{- define "zerda.testSelectorLabels" -}}
app.kubernetes.io/name: zerda
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}
