{{/* Service accounts of services of the release, as a JSON list: (list $ <names of services>). */}}
{{- define "zerda.serviceAccountsOf" -}}
{{- $root := index . 0 -}}
{{- $accounts := list -}}
{{- range index . 1 -}}
{{- with index $root.Subcharts . -}}
{{- $accounts = append $accounts (dict "namespace" .Release.Namespace "name" (include "service.serviceAccountName" .)) -}}
{{- end -}}
{{- end -}}
{{- toJson $accounts -}}
{{- end -}}

{{/* Namespace of the mesh's control plane. */}}
{{- define "zerda.controlPlane" -}}
{{- .Values.global.mesh.controlPlane | default (ternary "istio-system" "linkerd" (eq .Values.global.mesh.type "istio")) -}}
{{- end -}}

{{/* Service account of the pod of `helm test` in a mesh. */}}
{{- define "zerda.testAccount" -}}
{{- printf "%s-smoke-test" (.Release.Name | trunc 52 | trimSuffix "-") -}}
{{- end -}}

{{/*
The pods of the release and their permitted callers, as a YAML list, for the policies of a mesh; the NetworkPolicies permit the same callers.
A port has `rules`. A rule permits calls of the service accounts in `from`, or with `anyClient` those of any client that a NetworkPolicy permits.
*/}}
{{- define "zerda.meshWorkloads" -}}
{{- $mesh := .Values.global.mesh }}
{{- range $service, $chart := .Subcharts }}
{{- with $chart.Values }}
- name: {{ include "service.fullname" $chart }}
  labels: {{- include "service.selectorLabels" $chart | nindent 4 }}
  objectLabels: {{- include "service.labels" $chart | nindent 4 }}
  ports:
    - name: http
      number: {{ int .ports.http }}
      isHttp: true
      rules:
        {{- with include "zerda.serviceAccountsOf" (list $ .networkPolicy.allowFrom) | fromJsonArray }}
        - from: {{ toJson . }}
        {{- end }}
        {{- if eq $service "gateway" }}
        - from: {{ list (dict "namespace" $.Release.Namespace "name" (include "zerda.testAccount" $)) | toJson }}
        {{- end }}
        {{- if .networkPolicy.from }}
        - {{ if $mesh.ingressFrom }}from: {{ toJson $mesh.ingressFrom }}{{ else }}anyClient: true{{ end }}
        {{- end }}
    - name: management
      number: {{ int .ports.management }}
      isHttp: true
      rules:
        {{- if eq $.Values.global.nats.type "none" }}
        {{- with include "zerda.serviceAccountsOf" (list $ .events.sources) | fromJsonArray }}
        - from: {{ toJson . }}
          methods: [POST]
          paths: [/events]
        {{- end }}
        {{- end }}
        {{- $paths := .networkPolicy.managementPaths }}
        {{- with include "zerda.serviceAccountsOf" (list $ .networkPolicy.managementFrom) | fromJsonArray }}
        {{- if $paths }}
        - from: {{ toJson . }}
          methods: [GET]
          paths: {{ toJson $paths }}
        {{- end }}
        {{- end }}
        {{- if .networkPolicy.metricsFrom }}
        - {{ if $mesh.metricsFrom }}from: {{ toJson $mesh.metricsFrom }}{{ else }}anyClient: true{{ end }}
          methods: [GET]
          paths: [/metrics]
        {{- end }}
{{- if eq .database.type "bundled" }}
- name: {{ include "service.databaseName" $chart }}
  labels: {{- include "service.databaseSelectorLabels" $chart | nindent 4 }}
  objectLabels: {{- include "service.databaseLabels" $chart | nindent 4 }}
  ports:
    - name: postgresql
      number: 5432
      rules:
        - from: {{ include "zerda.serviceAccountsOf" (list $ (list $service)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq .Values.global.nats.type "bundled" }}
- name: {{ include "service.natsName" . }}
  labels: {{- include "service.natsSelectorLabels" . | nindent 4 }}
  objectLabels: {{- include "zerda.natsLabels" . | nindent 4 }}
  ports:
    - name: nats
      number: 4222
      rules:
        {{- with include "zerda.serviceAccountsOf" (list . (include "zerda.namesWith" (list . "events") | fromJsonArray)) | fromJsonArray }}
        - from: {{ toJson . }}
        {{- end }}
{{- end }}
{{- if eq .Values.global.valkey.type "bundled" }}
- name: {{ include "service.valkeyName" . }}
  labels: {{- include "service.valkeySelectorLabels" . | nindent 4 }}
  objectLabels: {{- include "zerda.valkeyLabels" . | nindent 4 }}
  ports:
    - name: valkey
      number: 6379
      rules:
        {{- with include "zerda.serviceAccountsOf" (list . (include "zerda.namesWith" (list . "valkey") | fromJsonArray)) | fromJsonArray }}
        - from: {{ toJson . }}
        {{- end }}
{{- end }}
{{- end -}}

{{/* Hosts that the proxy of a service calls, as in `egress.hosts` of Istio's Sidecar: (list $ <chart of the service>). */}}
{{- define "zerda.istioEgressHosts" -}}
{{- $root := index . 0 -}}
{{- $chart := index . 1 -}}
{{- $mesh := $root.Values.global.mesh -}}
{{- $names := list -}}
{{- with $chart.Values -}}
{{- range .peers }}{{ with (. | default dict).service }}{{ $names = append $names (include "service.fullnameOf" (list $root .)) }}{{ end }}{{ end -}}
{{- if eq $root.Values.global.nats.type "none" -}}
{{- range .events.sinks }}{{ $names = append $names (include "service.fullnameOf" (list $root .)) }}{{ end -}}
{{- else if and .events.enabled (eq $root.Values.global.nats.type "bundled") -}}
{{- $names = append $names (include "service.natsName" $root) -}}
{{- end -}}
{{- if and .valkey.enabled (eq $root.Values.global.valkey.type "bundled") }}{{ $names = append $names (include "service.valkeyName" $root) }}{{ end -}}
{{- if eq .database.type "bundled" }}{{ $names = append $names (include "service.databaseName" $chart) }}{{ end -}}
{{- end -}}
- {{ include "zerda.controlPlane" $root }}/*
{{- range uniq $names | sortAlpha }}
- ./{{ . }}.{{ $root.Release.Namespace }}.svc.{{ $mesh.clusterDomain }}
{{- end }}
{{- range $mesh.egressHosts }}
- {{ . | quote }}
{{- end }}
{{- end -}}
