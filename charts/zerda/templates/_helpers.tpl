{{- define "zerda.labels" -}}
app.kubernetes.io/name: zerda
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: zerda
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Values of a service, those of its chart included, as its own templates see them: (list $ "gateway"). */}}
{{- define "zerda.gatewayName" -}}
{{- $gateway := .Values.gateway -}}
{{- $gateway.fullnameOverride | default (include "service.fullnameOf" (list . ($gateway.nameOverride | default "gateway"))) -}}
{{- end -}}

{{- define "zerda.testSelectorLabels" -}}
app.kubernetes.io/name: zerda
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end -}}
