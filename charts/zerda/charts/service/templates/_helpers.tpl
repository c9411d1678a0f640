{{/* Name of the service: in the umbrella chart, the alias. */}}
{{- define "service.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Full name of a service of the release, (list $ "user-service"), short enough for the suffixes that are appended to it. */}}
{{- define "service.fullnameOf" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $release := $root.Release.Name | trunc (int (sub 51 (len $name))) | trimSuffix "-" -}}
{{- printf "%s-%s" $release $name -}}
{{- end -}}

{{- define "service.fullname" -}}
{{- .Values.fullnameOverride | default (include "service.fullnameOf" (list . (include "service.name" .))) -}}
{{- end -}}

{{- define "service.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "service.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "service.selectorLabels" -}}
app.kubernetes.io/name: {{ include "service.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "service.databaseSelectorLabels" -}}
app.kubernetes.io/name: {{ include "service.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: database
{{- end -}}

{{/* A value as text. Numbers of a values file are floats, and large ones would be printed with an exponent. */}}
{{- define "service.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* Version label of an image: its tag, otherwise the beginning of its digest, otherwise the default: (list <image> "default"). */}}
{{- define "service.versionOf" -}}
{{- $image := index . 0 -}}
{{- $digest := $image.digest | trunc 19 | replace ":" "-" -}}
{{- $version := $image.tag | default (ternary $digest (index . 1) (not (empty $digest))) -}}
{{- include "service.text" $version | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* Tag of a service's image that sets neither a tag nor a digest. */}}
{{- define "service.defaultTag" -}}
{{- include "service.text" (.Values.global.imageTag | default .Values.version | default .Chart.AppVersion) -}}
{{- end -}}

{{/*
Labels of all objects except pods, (list $ "version"). In pods, labels with a version would restart pods that have not changed.
*/}}
{{- define "service.commonLabels" -}}
{{- $version := index . 1 -}}
{{- with index . 0 -}}
app.kubernetes.io/version: {{ $version | quote }}
app.kubernetes.io/part-of: zerda
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}
{{- end -}}

{{- define "service.labels" -}}
{{ include "service.selectorLabels" . }}
{{ include "service.commonLabels" (list . (include "service.versionOf" (list .Values.image (include "service.defaultTag" .)))) }}
{{- end -}}

{{- define "service.databaseLabels" -}}
{{ include "service.databaseSelectorLabels" . }}
{{ include "service.commonLabels" (list . (include "service.versionOf" (list .Values.database.bundled.image ""))) }}
{{- end -}}

{{/* Image reference: (dict "image" … "registry" "default" "repository" "default" "tag" "default"). */}}
{{- define "service.imageReference" -}}
{{- $registry := .image.registry | default .registry -}}
{{- $repository := .image.repository | default .repository -}}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ $repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ include "service.text" (.image.tag | default .tag) }}{{ end -}}
{{- end -}}

{{- define "service.image" -}}
{{- $tag := include "service.defaultTag" . -}}
{{- include "service.imageReference" (dict "image" .Values.image "registry" .Values.global.imageRegistry "repository" (printf "zerda/%s" (include "service.name" .)) "tag" $tag) -}}
{{- end -}}

{{/*
Name of a StatefulSet: (list "<name>" "-<suffix>"). The label controller-revision-hash of its pods is the name plus eleven characters,
and a label has at most 63. A longer name is truncated and gets a hash of the whole name.
*/}}
{{- define "service.statefulSetName" -}}
{{- $name := index . 0 -}}
{{- $suffix := index . 1 -}}
{{- if gt (len (printf "%s%s" $name $suffix)) 52 -}}
{{- $name = printf "%s-%s" ($name | trunc (int (sub 43 (len $suffix))) | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- end -}}
{{- printf "%s%s" $name $suffix -}}
{{- end -}}

{{- define "service.databaseName" -}}
{{- include "service.statefulSetName" (list (include "service.fullname" .) "-postgresql") -}}
{{- end -}}

{{- define "service.databaseSecret" -}}
{{- if eq .Values.database.type "external" -}}
{{- .Values.database.external.existingSecret -}}
{{- else -}}
{{- .Values.database.bundled.existingSecret | default (include "service.databaseName" .) -}}
{{- end -}}
{{- end -}}

{{- define "service.eventsSecret" -}}
{{- .Values.global.eventsSecret | default (printf "%s-events" .Release.Name) -}}
{{- end -}}

{{- define "service.managementSecret" -}}
{{- .Values.global.managementSecret | default (printf "%s-management" .Release.Name) -}}
{{- end -}}

{{/*
Value of a key of a Secret, in Base64: that of the installed Secret, otherwise `chosen`, otherwise a random one. (dict "root" $ "secret"
"<name>" "key" "<key>" "length" 32 "purpose" "<name of the value in messages>" "setting" "<chart value that names a Secret>" "chosen"
"<optional>")
Fails if the value would be random and the render cannot look up the installed Secret: the value would differ in each render, and
Argo CD and Flux's kustomize-controller would replace it at each synchronization. Each existing namespace has the ConfigMap
kube-root-ca.crt; the second lookup is for a namespace that `--create-namespace` is about to create.
*/}}
{{- define "service.existingOrGenerated" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $existing := dig "data" .key "" (lookup "v1" "Secret" $namespace .secret | default dict) -}}
{{- if $existing -}}
{{- $existing -}}
{{- else if .chosen -}}
{{- .chosen | b64enc -}}
{{- else -}}
{{- if not (or (lookup "v1" "ConfigMap" $namespace "kube-root-ca.crt") (lookup "v1" "Namespace" "" "kube-system")) -}}
{{- fail (printf "Cannot generate the %s: this render has no access to the cluster (helm template, Argo CD, --dry-run=client), so the value would differ each time. Create a Secret and set %s to its name, or use --values charts/zerda/values-gitops.yaml, which names all of them. docs/kubernetes.md, \"Secrets without helm install\", has the commands. With access to the cluster, use --dry-run=server." .purpose .setting) -}}
{{- end -}}
{{- randAlphaNum .length | b64enc -}}
{{- end -}}
{{- end -}}

{{/* Names of the servers that the umbrella chart installs once for all services. */}}
{{- define "service.natsName" -}}
{{- include "service.statefulSetName" (list .Release.Name "-nats") -}}
{{- end -}}

{{- define "service.valkeyName" -}}
{{- printf "%s-valkey" .Release.Name -}}
{{- end -}}

{{/* Returns the key of a service's password in the Secret of the bundled NATS: (list $ <service>). */}}
{{- define "service.natsPasswordKey" -}}
{{- $service := index . 1 -}}
{{- index (index . 0).Values.global.nats.bundled.servicePasswordKeys $service | default (printf "%s-password" $service) -}}
{{- end -}}

{{/* Security context of a pod or container: (list $ <value>). OpenShift assigns users and groups itself and rejects others. */}}
{{- define "service.securityContext" -}}
{{- $root := index . 0 -}}
{{- $context := index . 1 -}}
{{- if $root.Values.global.openshift -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* IP families of a Service: lines of its spec, each after a line break. */}}
{{- define "service.ipFamilies" -}}
{{- with .Values.global.ipFamilyPolicy }}
  ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .Values.global.ipFamilies }}
  ipFamilies: {{- toYaml . | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Secret with the key that encrypts signing keys and the first admin's password. */}}
{{- define "service.authSecret" -}}
{{- .Values.global.auth.existingSecret | default (printf "%s-auth" .Release.Name) -}}
{{- end -}}

{{- define "service.natsSelectorLabels" -}}
app.kubernetes.io/name: nats
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: broker
{{- end -}}

{{- define "service.valkeySelectorLabels" -}}
app.kubernetes.io/name: valkey
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: cache
{{- end -}}

{{/* Secret with the credentials for an external NATS; empty if there is none. */}}
{{- define "service.externalNatsSecret" -}}
{{- .Values.events.natsSecret | default .Values.global.nats.external.existingSecret -}}
{{- end -}}

{{/* Volumes of the Secrets with files for NATS. */}}
{{- define "service.natsVolumes" -}}
{{- with .Values.global.nats }}
{{- if and $.Values.events.enabled (eq .type "external") }}
{{- $secret := include "service.externalNatsSecret" $ }}
{{- if and $secret .external.credentialsKey }}
- name: nats-credentials
  secret: {secretName: {{ $secret }}, items: [{key: {{ .external.credentialsKey }}, path: {{ .external.credentialsKey }}}]}
{{- end }}
{{- with .external.tls.existingSecret }}
- name: nats-tls
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "service.natsVolumeMounts" -}}
{{- range include "service.natsVolumes" . | fromYamlArray }}
- {name: {{ .name }}, mountPath: /etc/zerda/{{ .name }}, readOnly: true}
{{- end }}
{{- end -}}

{{/* Labels of a pod whose proxy a mesh adds. */}}
{{- define "service.meshLabels" -}}
{{- if eq .Values.global.mesh.type "istio" -}}
sidecar.istio.io/inject: "true"
{{- end -}}
{{- end -}}

{{/*
Annotations of a pod whose proxy a mesh adds: (list $ <terminationGracePeriodSeconds>). The proxy is a native sidecar: it starts before the
init container that migrates the database, and ends after the service.
*/}}
{{- define "service.meshAnnotations" -}}
{{- $seconds := index . 1 -}}
{{- with index . 0 -}}
{{- if eq .Values.global.mesh.type "istio" -}}
sidecar.istio.io/nativeSidecar: "true"
# Prometheus reads the metrics of the service at its own port.
prometheus.istio.io/merge-metrics: "false"
{{- else if eq .Values.global.mesh.type "linkerd" -}}
linkerd.io/inject: enabled
config.beta.linkerd.io/proxy-enable-native-sidecar: "true"
config.linkerd.io/shutdown-grace-period: {{ $seconds }}s
# A pod without a policy accepts nothing.
config.linkerd.io/default-inbound-policy: deny
{{- end -}}
{{- end -}}
{{- end -}}

{{/* terminationGracePeriodSeconds of a pod. */}}
{{- define "service.gracePeriod" -}}
{{- with .Values.shutdown -}}
{{- if .gracePeriodSeconds -}}
{{- int .gracePeriodSeconds -}}
{{- else -}}
{{- add .preStopSeconds .drainSeconds .deadlineSeconds 5 -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Flags for V8's heap; empty without a memory limit. Each semi-space of the young generation gets a 32nd of the limit, at most 16 MiB.
V8's own choice is 1 MiB with a limit of 256 MiB, and 64 MiB without one.
*/}}
{{- define "service.heapFlags" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString -}}
{{- if and .Values.heapPercent (regexMatch "^[0-9]+(Mi|Gi|M|G)$" $limit) -}}
{{- $megabytes := mul (regexFind "^[0-9]+" $limit) (ternary 1024 1 (contains "G" $limit)) -}}
--max-old-space-size={{ div (mul $megabytes .Values.heapPercent) 100 }} --max-semi-space-size={{ div $megabytes 32 | max 1 | min 16 }}
{{- end -}}
{{- end -}}

{{/* URL of a peer: (list $ <peer>). */}}
{{- define "service.peerUrl" -}}
{{- $root := index . 0 -}}
{{- $peer := index . 1 -}}
{{- if $peer.url -}}
{{- tpl $peer.url $root -}}
{{- else -}}
http://{{ include "service.fullnameOf" (list $root $peer.service) }}{{ if and $peer.headless (eq $root.Values.global.mesh.type "none") }}-headless{{ end }}:{{ int $peer.port }}
{{- end -}}
{{- end -}}

{{/* Number of trusted proxies in front of the service; 0 if they are trusted by address or if there are none. */}}
{{- define "service.trustedProxyHops" -}}
{{- $hops := .Values.trustedProxyHops -}}
{{- if not (or (kindIs "invalid" $hops) (kindIs "string" $hops)) -}}
{{- int $hops -}}
{{- else -}}
{{- ternary 1 0 (and (or .Values.ingress.enabled .Values.httpRoute.enabled) (empty .Values.trustedProxies)) -}}
{{- end -}}
{{- end -}}

{{/* Data of the ConfigMap: variables that are not secret. */}}
{{- define "service.configuration" -}}
NODE_ENV: production
LOG_FORMAT: json
PORT: {{ int .Values.ports.http | quote }}
MANAGEMENT_PORT: {{ int .Values.ports.management | quote }}
DRAIN_MS: {{ mul .Values.shutdown.drainSeconds 1000 | quote }}
SHUTDOWN_DEADLINE_MS: {{ mul .Values.shutdown.deadlineSeconds 1000 | quote }}
{{- range $name, $peer := .Values.peers }}
{{- if $peer }}
{{ $name }}: {{ include "service.peerUrl" (list $ $peer) | quote }}
{{- end }}
{{- end }}
{{- with .Values.global.auth }}
AUTH: {{ .mode | quote }}
{{- if eq .mode "off" }}
ALLOW_UNAUTHENTICATED: "true"
{{- end }}
AUTH_ISSUER: {{ .issuer | default (printf "http://%s" (include "service.fullnameOf" (list $ "gateway"))) | quote }}
AUTH_AUDIENCE: {{ .audience | quote }}
{{- if .external.jwksUrl }}
AUTH_JWKS_URL: {{ .external.jwksUrl | quote }}
AUTH_ALGORITHMS: {{ .external.algorithms | quote }}
AUTH_TOKEN_TYPES: {{ .external.tokenTypes | quote }}
AUTH_ROLE_CLAIM: {{ .external.roleClaim | quote }}
AUTH_ADMIN_ROLE: {{ .external.adminRole | quote }}
AUTH_USER_ID_CLAIM: {{ .external.userIdClaim | quote }}
{{- else if and $.Values.identity.enabled (eq .mode "required") }}
AUTH_SIGN_UP: {{ .signUp | quote }}
{{- with .adminEmail }}
AUTH_ADMIN_EMAIL: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.events.enabled }}
{{- with .Values.global.nats }}
{{- if and (ne .type "none") (ne .signatures "required") }}
EVENT_SIGNATURES: {{ .signatures }}
{{- end }}
{{- if eq .type "bundled" }}
NATS_URL: nats://{{ include "service.natsName" $ }}:4222
NATS_USER: {{ $.Chart.Name }}
{{- else if eq .type "external" }}
NATS_URL: {{ .external.url | quote }}
NATS_STREAM_REPLICAS: {{ int .external.streamReplicas | quote }}
{{- if and (include "service.externalNatsSecret" $) .external.credentialsKey }}
NATS_CREDENTIALS_FILE: /etc/zerda/nats-credentials/{{ .external.credentialsKey }}
{{- end }}
{{- with .external.tls }}
{{- if .existingSecret }}
{{- range $variable, $key := dict "NATS_CA_FILE" .caKey "NATS_CERT_FILE" .certKey "NATS_KEY_FILE" .keyKey }}
{{- if $key }}
{{ $variable }}: /etc/zerda/nats-tls/{{ $key }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.valkey.enabled (eq .Values.global.valkey.type "external") }}
{{- with .Values.global.valkey.external.url }}
VALKEY_URL: {{ . | quote }}
{{- end }}
{{- end }}
{{- if eq .Values.global.nats.type "none" }}
{{- with .Values.events.sinks }}
{{- /* Not the headless name: without a ready pod it would not resolve, and DNS would cache that. */}}
{{- $urls := list }}
{{- range . }}
{{- $urls = append $urls (printf "http://%s:%d/events" (include "service.fullnameOf" (list $ .)) (int $.Values.ports.management)) }}
{{- end }}
EVENT_SINKS: {{ join "," $urls | quote }}
{{- end }}
{{- end }}
{{- with .Values.global.tracing }}
{{- if .endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ .protocol | quote }}
OTEL_TRACES_SAMPLER: parentbased_traceidratio
OTEL_TRACES_SAMPLER_ARG: {{ .ratio | toString | quote }}
{{- end }}
{{- end }}
{{- if eq .Values.global.mesh.type "istio" }}
SERVICE_MESH: istio
{{- end }}
{{- with .Values.trustedProxies }}
TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
{{- with include "service.trustedProxyHops" . | int }}
TRUSTED_PROXY_HOPS: {{ . | quote }}
{{- end }}
{{- with .Values.database }}
{{- if ne .type "none" }}
DATABASE_POOL_SIZE: {{ int .poolSize | quote }}
DATABASE_PREPARED_STATEMENTS: {{ or (eq .type "bundled") .external.preparedStatements | quote }}
# The init container applies the migrations.
MIGRATE_ON_START: "false"
{{- end }}
{{- if eq .type "bundled" }}
DATABASE_HOST: {{ include "service.databaseName" $ }}
DATABASE_NAME: {{ .bundled.name | quote }}
DATABASE_USER: {{ .bundled.name | quote }}
{{- end }}
{{- if and (eq .type "external") .external.host }}
DATABASE_HOST: {{ .external.host | quote }}
DATABASE_PORT: {{ int .external.port | quote }}
{{- with .external.name }}
DATABASE_NAME: {{ . | quote }}
{{- end }}
{{- with .external.username }}
DATABASE_USER: {{ . | quote }}
{{- end }}
{{- with .external.parameters }}
DATABASE_PARAMETERS: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.env }}
{{- if kindIs "string" $value }}
{{ $name }}: {{ tpl $value $ | quote }}
{{- else if not (kindIs "map" $value) }}
{{ $name }}: {{ include "service.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Variables of a container that are not in the ConfigMap, such as those from Secrets. Each name occurs once. */}}
{{- define "service.env" -}}
{{- with include "service.heapFlags" . }}
- name: NODE_OPTIONS
  value: {{ . }}
{{- end }}
{{- with .Values.global.tracing }}
{{- if .endpoint }}
- name: K8S_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $.Release.Namespace }},k8s.pod.name=$(K8S_POD_NAME)
{{- with .headersSecret }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: {secretKeyRef: {name: {{ . }}, key: {{ $.Values.global.tracing.headersKey }}}}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.global.auth }}
{{- if and $.Values.identity.enabled (eq .mode "required") (not .external.jwksUrl) }}
- name: AUTH_KEY_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "service.authSecret" $ }}, key: {{ .keySecretKey }}}}
{{- if .adminEmail }}
- name: AUTH_ADMIN_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "service.authSecret" $ }}, key: {{ .adminPasswordKey }}}}
{{- end }}
{{- end }}
{{- end }}
- name: MANAGEMENT_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "service.managementSecret" . }}, key: secret, optional: {{ not .Values.global.managementSecret }}}}
{{- if .Values.events.enabled }}
- name: EVENT_SECRET
  valueFrom: {secretKeyRef: {name: {{ include "service.eventsSecret" . }}, key: secret}}
{{- with .Values.global.nats }}
{{- if eq .type "bundled" }}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .bundled.existingSecret | default (include "service.natsName" $) }}, key: {{ include "service.natsPasswordKey" (list $ $.Chart.Name) }}}}
{{- else if and (eq .type "external") (include "service.externalNatsSecret" $) (not .external.credentialsKey) }}
- name: NATS_USER
  valueFrom: {secretKeyRef: {name: {{ include "service.externalNatsSecret" $ }}, key: {{ .external.userKey }}}}
- name: NATS_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "service.externalNatsSecret" $ }}, key: {{ .external.passwordKey }}}}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.valkey.enabled }}
{{- with .Values.global.valkey }}
{{- if eq .type "bundled" }}
- name: VALKEY_URL
  valueFrom: {secretKeyRef: {name: {{ .bundled.existingSecret | default (include "service.valkeyName" $) }}, key: uri}}
{{- else if and (eq .type "external") .external.existingSecret }}
- name: VALKEY_URL
  valueFrom: {secretKeyRef: {name: {{ .external.existingSecret }}, key: {{ .external.uriKey }}}}
{{- end }}
{{- end }}
{{- end }}
{{- $secret := include "service.databaseSecret" . }}
{{- with .Values.database }}
{{- if eq .type "bundled" }}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .bundled.passwordKey }}}}
{{- else if and (eq .type "external") .external.host }}
{{- if not .external.username }}
- name: DATABASE_USER
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .external.usernameKey }}}}
{{- end }}
- name: DATABASE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .external.passwordKey }}}}
{{- else if eq .type "external" }}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ .external.uriKey }}}}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.env }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  {{- toYaml $value | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Egress rule for NATS or Valkey: (dict "server" <its values> "port" <of the bundled one> "labels" <of the bundled one>). */}}
{{- define "service.serverEgress" -}}
{{- if eq .server.type "bundled" }}
    - ports:
        - {port: {{ .port }}, protocol: TCP}
      to:
        - podSelector:
            matchLabels: {{- .labels | nindent 14 }}
{{- else if eq .server.type "external" }}
    - ports:
        - {port: {{ int .server.external.port }}, protocol: TCP}
      {{- with .server.external.to }}
      to: {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- end -}}

{{/*
Returns the pods of the collector's namespace as a JSON list of policy peers: those of the release's namespace for http://<service>, those of the
named one for http://<service>.<namespace> and <service>.<namespace>.svc…. The list is empty for any other host, which may be outside the cluster.
*/}}
{{- define "service.collectorNamespace" -}}
{{- $url := urlParse .Values.global.tracing.endpoint -}}
{{- $labels := splitList "." $url.hostname -}}
{{- $namespace := "" -}}
{{- if and (gt (len $labels) 2) (eq (index $labels 2) "svc") -}}
{{- $namespace = index $labels 1 -}}
{{- else if and (eq $url.scheme "http") (eq (len $labels) 2) -}}
{{- $namespace = index $labels 1 -}}
{{- else if and (eq $url.scheme "http") (regexMatch "^[a-z0-9-]+$" $url.hostname) -}}
{{- $namespace = .Release.Namespace -}}
{{- end -}}
{{- if $namespace -}}
{{- list (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" $namespace))) | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end -}}
