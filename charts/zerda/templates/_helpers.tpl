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

{{/* Told for what it is: the first value that is missing would else be a nil pointer in some template. */}}
{{- define "zerda.requireDefaults" -}}
{{- if not (and .Values.global.auth (dig "bundled" "servicePasswordKeys" "" (.Values.global.nats | default dict)) .Values.global.valkey) -}}
{{- fail "the values of an older chart were kept without the defaults of this one; helm upgrade with --reset-then-reuse-values instead of --reuse-values" -}}
{{- end -}}
{{- end -}}

{{/* The services whose value of that name is enabled, as in `from`: (list $ "events"). */}}
{{- define "zerda.servicesThat" -}}
{{- $root := index . 0 -}}
{{- $value := index . 1 -}}
{{- range list "gateway" "user-service" "order-service" }}
{{- if dig $value "enabled" false (index $root.Values .) }}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ . }}
      app.kubernetes.io/instance: {{ $root.Release.Name }}
      app.kubernetes.io/component: service
{{- end }}
{{- end }}
{{- end -}}

{{- define "zerda.natsConfiguration" -}}
port: 4222
# For probes; network policies let nobody else there.
http: 8222
jetstream {
  store_dir: /data
  {{- range $setting, $value := .Values.global.nats.bundled.jetstream }}
  {{ $setting }}: {{ $value }}
  {{- end }}
}
include ./nats-users.conf
{{- end -}}

{{/* Variables of files/nats-users.conf, each with the key of its password, as a dictionary in JSON. */}}
{{- define "zerda.natsPasswords" -}}
{{- with .Values.global.nats.bundled -}}
{{- $keys := dict "PASSWORD" .passwordKey -}}
{{- range $service, $key := .servicePasswordKeys -}}
{{- $_ := set $keys (printf "%s_PASSWORD" ($service | upper | replace "-" "_")) $key -}}
{{- end -}}
{{- toJson $keys -}}
{{- end -}}
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
