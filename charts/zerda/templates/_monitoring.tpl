{{/* Selector of the series of this release's services, without braces. */}}
{{- define "zerda.series" -}}
namespace="{{ .Release.Namespace }}",job=~"{{ keys .Subcharts | sortAlpha | join "|" }}"
{{- end -}}

{{- define "zerda.gatewaySeries" -}}
namespace="{{ .Release.Namespace }}",job="gateway"
{{- end -}}

{{/* Objectives of the gateway, as a JSON list: the ratio of bad requests and the percentage of good ones. */}}
{{- define "zerda.objectives" -}}
{{- with .Values.monitoring.slo -}}
{{- list
  (dict "slo" "availability" "ratio" "errors" "percent" .availabilityPercent "bad" "return a server error")
  (dict "slo" "latency" "ratio" "slow" "percent" .latencyPercent "bad" (printf "take longer than %v s" .latencySeconds)) | toJson -}}
{{- end -}}
{{- end -}}

{{/* Windows of the burn-rate alerts and the period of the error budget, as a JSON list without duplicates. */}}
{{- define "zerda.sloWindows" -}}
{{- $windows := list .Values.monitoring.slo.period -}}
{{- range .Values.monitoring.slo.burnRates -}}
{{- $windows = concat $windows (list .long .short) -}}
{{- end -}}
{{- without ($windows | uniq) .Values.monitoring.slo.rateWindow | toJson -}}
{{- end -}}

{{/*
Recording rules of the service level indicators. The rates are recorded once, so that a window of days reads three series of each service
instead of hundreds. Without requests, a ratio is NaN and no alert fires.
*/}}
{{- define "zerda.recordingRules" -}}
{{- $series := include "zerda.series" . -}}
{{- $rate := .Values.monitoring.slo.rateWindow -}}
{{- with .Values.monitoring.slo }}
- record: job:http_server_requests:rate{{ $rate }}
  expr: sum by (namespace, job) (rate(http_server_request_duration_seconds_count{ {{- $series -}} }[{{ $rate }}]))
- record: job:http_server_errors:rate{{ $rate }}
  expr: |-
    sum by (namespace, job) (rate(http_server_request_duration_seconds_count{ {{- $series -}} ,http_response_status_code=~"5.."}[{{ $rate }}]))
    or 0 * job:http_server_requests:rate{{ $rate }}{ {{- $series -}} }
- record: job:http_server_slow:rate{{ $rate }}
  expr: |-
    job:http_server_requests:rate{{ $rate }}{ {{- $series -}} }
    - sum by (namespace, job) (rate(http_server_request_duration_seconds_bucket{ {{- $series -}} ,le="{{ .latencySeconds }}"}[{{ $rate }}]))
{{- end }}
{{- range list "errors" "slow" }}
- record: job:http_server_{{ . }}:ratio_rate{{ $rate }}
  expr: job:http_server_{{ . }}:rate{{ $rate }}{ {{- $series -}} } / job:http_server_requests:rate{{ $rate }}{ {{- $series -}} }
{{- end }}
{{- range $window := include "zerda.sloWindows" . | fromJsonArray }}
{{- range list "errors" "slow" }}
- record: job:http_server_{{ . }}:ratio_rate{{ $window }}
  expr: |-
    sum_over_time(job:http_server_{{ . }}:rate{{ $rate }}{ {{- $series -}} }[{{ $window }}])
    / sum_over_time(job:http_server_requests:rate{{ $rate }}{ {{- $series -}} }[{{ $window }}])
{{- end }}
{{- end }}
{{- $slo := .Values.monitoring.slo }}
{{- range include "zerda.objectives" . | fromJsonArray }}
{{- $allowed := printf "((100 - %v) / 100)" .percent }}
- record: job:slo_objective:ratio
  labels: {slo: {{ .slo }}, job: gateway, namespace: {{ $.Release.Namespace }}}
  expr: vector({{ .percent }} / 100)
- record: job:slo_error_budget_remaining:ratio
  labels: {slo: {{ .slo }}}
  expr: 1 - job:http_server_{{ .ratio }}:ratio_rate{{ $slo.period }}{ {{- include "zerda.gatewaySeries" $ -}} } / {{ $allowed }}
{{- $objective := . }}
{{- range $window := without (prepend (include "zerda.sloWindows" $ | fromJsonArray) $rate) $slo.period }}
- record: job:slo_burn_rate:ratio
  labels: {slo: {{ $objective.slo }}, window: {{ $window }}}
  expr: job:http_server_{{ $objective.ratio }}:ratio_rate{{ $window }}{ {{- include "zerda.gatewaySeries" $ -}} } / {{ $allowed }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Alerts of the error budgets of the gateway, one for each pair of windows. */}}
{{- define "zerda.burnRateAlerts" -}}
{{- $gateway := include "zerda.gatewaySeries" . -}}
{{- range $objective := include "zerda.objectives" . | fromJsonArray }}
{{- range $.Values.monitoring.slo.burnRates }}
{{- $limit := printf "%v * (100 - %v) / 100" .factor $objective.percent }}
- alert: Zerda{{ title $objective.slo }}BudgetBurn
  severity: {{ .severity }}
  for: 0s
  labels: {long_window: {{ .long }}, short_window: {{ .short }}}
  expr: |-
    job:http_server_{{ $objective.ratio }}:ratio_rate{{ .long }}{ {{- $gateway -}} } > {{ $limit }}
    and
    job:http_server_{{ $objective.ratio }}:ratio_rate{{ .short }}{ {{- $gateway -}} } > {{ $limit }}
  summary: The gateway uses its {{ $objective.slo }} error budget more than {{ .factor }} times too fast.
  description: '{{"{{"}} $value | humanizePercentage {{"}}"}} of the requests of the last {{ .long }} {{ $objective.bad }}. The objective is {{ $objective.percent }} % without.'
{{- end }}
{{- end }}
{{- end -}}

{{/* All other alerts. A pod reports the state of shared things, such as the outbox, for all replicas: `max` counts it once. */}}
{{- define "zerda.stateAlerts" -}}
{{- $series := include "zerda.series" . -}}
{{- $namespace := printf "namespace=\"%s\"" .Release.Namespace -}}
{{- with .Values.monitoring.alerts }}
{{- range $service, $_ := $.Subcharts }}
- alert: ZerdaServiceDown
  severity: page
  labels: {job: {{ $service }}, namespace: {{ $.Release.Namespace }}}
  expr: absent(up{ {{- $namespace -}} ,job="{{ $service }}"} == 1)
  summary: Prometheus reads metrics of no pod of {{ $service }}.
  description: Either no pod runs, or Prometheus does not reach the management port. All other alerts on this service are silent meanwhile.
{{- end }}
- alert: ZerdaCircuitOpen
  severity: ticket
  expr: |-
    max by (namespace, job, circuit) (circuit_breaker_state{ {{- $series -}} }) > 0
    and sum by (namespace, job, circuit) (increase(circuit_breaker_events_total{ {{- $series -}} ,event="reject"}[{{ .window }}])) > 0
  summary: 'The circuit of {{"{{"}} $labels.job {{"}}"}} to {{"{{"}} $labels.circuit {{"}}"}} rejects calls.'
  description: Calls to this service fail or time out, so its callers reject them at once and probe it.
- alert: ZerdaUpstreamWithoutAddress
  severity: page
  expr: |-
    max by (namespace, job, upstream) (upstream_addresses{ {{- $series -}} ,state="available"}) == 0
    and sum by (namespace, job, upstream) (increase(http_client_request_duration_seconds_count{ {{- $series -}} }[{{ .window }}])) > 0
  summary: '{{"{{"}} $labels.job {{"}}"}} reaches no address of {{"{{"}} $labels.upstream {{"}}"}}.'
  description: The name does not resolve, or connections to all of its addresses fail.
- alert: ZerdaOutboxDelayed
  severity: page
  expr: max by (namespace, job) (outbox_oldest_seconds{ {{- $series -}} }) > {{ .outboxAgeSeconds }}
  summary: 'An event of {{"{{"}} $labels.job {{"}}"}} has waited for {{"{{"}} $value | humanizeDuration {{"}}"}}.'
  description: Other services do not know of changes since then. No event is lost.
- alert: ZerdaDeadLetters
  severity: ticket
  expr: max by (namespace, job, side) (dead_letters{ {{- $series -}} }) > 0
  summary: '{{"{{"}} $labels.job {{"}}"}} has {{"{{"}} $value {{"}}"}} dead letters ({{"{{"}} $labels.side {{"}}"}}).'
  description: These events have no effect until they are replayed.
- alert: ZerdaRelayStuck
  severity: ticket
  expr: time() - max by (namespace, job) (relay_last_cycle_timestamp_seconds{ {{- $series -}} }) > {{ .relayStuckSeconds }}
  summary: 'No relay of {{"{{"}} $labels.job {{"}}"}} has read the outbox for {{"{{"}} $value | humanizeDuration {{"}}"}}.'
  description: The relay reads the outbox every second. Usually the database is unavailable.
- alert: ZerdaPoolExhausted
  severity: ticket
  expr: min_over_time(pool_connections{ {{- $series -}} ,state="waiting"}[{{ .window }}]) > 0
  summary: 'Callers in {{"{{"}} $labels.pod {{"}}"}} wait for a connection of the pool {{"{{"}} $labels.pool {{"}}"}}.'
  description: At every scrape of the last {{ .window }}, all connections were in use and callers waited.
- alert: ZerdaEventLoopLate
  severity: ticket
  expr: avg_over_time(nodejs_eventloop_lag_p99_seconds{ {{- $series -}} }[{{ .window }}]) > {{ .eventLoopDelaySeconds }}
  summary: 'The event loop of {{"{{"}} $labels.pod {{"}}"}} is {{"{{"}} $value | humanizeDuration {{"}}"}} late.'
  description: The process has too little CPU time, or it runs code that blocks. All of its requests are delayed.
- alert: ZerdaMemoryNearLimit
  severity: ticket
  expr: |-
    process_resident_memory_bytes{ {{- $series -}} } / process_memory_limit_bytes{ {{- $series -}} } > {{ .memoryPercent }} / 100
    or nodejs_heap_size_used_bytes{ {{- $series -}} } / nodejs_heap_size_limit_bytes{ {{- $series -}} } > {{ .memoryPercent }} / 100
  summary: '{{"{{"}} $labels.pod {{"}}"}} uses {{"{{"}} $value | humanizePercentage {{"}}"}} of its memory.'
  description: Above its limit, the kernel or V8 ends the process.
- alert: ZerdaRestarts
  severity: ticket
  expr: changes(process_start_time_seconds{ {{- $series -}} }[{{ .restartWindow }}]) > {{ .maxRestarts }}
  summary: '{{"{{"}} $labels.pod {{"}}"}} restarted {{"{{"}} $value {{"}}"}} times.'
  description: The process ended within the last {{ .restartWindow }} more often than expected.
- alert: ZerdaJwksStale
  severity: ticket
  expr: |-
    max by (namespace, job) (jwks_age_seconds{ {{- $series -}} }) > {{ .jwksAgeSeconds }}
    and sum by (namespace, job) (increase(jwks_fetches_total{ {{- $series -}} }[{{ .window }}])) > 0
  summary: '{{"{{"}} $labels.job {{"}}"}} verifies access tokens with keys that are {{"{{"}} $value | humanizeDuration {{"}}"}} old.'
  description: It cannot fetch the JWKS. An hour after the keys expire, it rejects all tokens with 503.
- alert: ZerdaSigningKeyOld
  severity: ticket
  expr: max by (namespace, job) (signing_key_age_seconds{ {{- $series -}} }) > {{ int64 .signingKeyAgeSeconds }}
  summary: 'The key that signs access tokens is {{"{{"}} $value | humanizeDuration {{"}}"}} old.'
  description: Rotate the key. No valid token is rejected.
- alert: ZerdaLoginFlood
  severity: ticket
  expr: sum by (namespace, job) (rate(logins_total{ {{- $series -}} ,outcome!="succeeded"}[{{ .window }}])) > {{ .failedLoginsPerSecond }}
  summary: '{{"{{"}} $value | humanize {{"}}"}} logins a second fail.'
  description: Clients may be guessing passwords. Limits protect accounts, and users may have to wait.
- alert: ZerdaValkeyUnavailable
  severity: ticket
  expr: min by (namespace, job) (rate_limits_shared{ {{- $series -}} }) == 0
  summary: 'A pod of {{"{{"}} $labels.job {{"}}"}} counts rate limits on its own.'
  description: Valkey is unavailable or slow. The effective limits are those of one pod times the number of pods.
- alert: ZerdaSpansDropped
  severity: ticket
  expr: |-
    sum by (namespace, job) (increase(trace_spans_dropped_total{ {{- $series -}} }[{{ .window }}]))
    / (
      sum by (namespace, job) (increase(trace_spans_dropped_total{ {{- $series -}} }[{{ .window }}]))
      + sum by (namespace, job) (increase(trace_spans_exported_total{ {{- $series -}} }[{{ .window }}]))
    ) > {{ .droppedSpansPercent }} / 100
  summary: '{{"{{"}} $labels.job {{"}}"}} loses {{"{{"}} $value | humanizePercentage {{"}}"}} of its spans.'
  description: The collector does not accept them, or it is too slow. Traces lack spans, but no request fails or waits.
{{- end }}
{{- end -}}

{{/* Page of docs/runbooks of an alert: its name without prefix, in lower case with hyphens. */}}
{{- define "zerda.runbook" -}}
{{- trimPrefix "Zerda" . | kebabcase -}}.md
{{- end -}}

{{/* Rules of the alerts that a template lists: (list $ "<template>"). */}}
{{- define "zerda.alerts" -}}
{{- $root := index . 0 -}}
{{- $monitoring := $root.Values.monitoring -}}
{{- range include (index . 1) $root | fromYamlArray }}
- alert: {{ .alert }}
  expr: {{ .expr | quote }}
  for: {{ .for | default $monitoring.alerts.for }}
  labels:
    severity: {{ .severity }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    summary: {{ .summary | quote }}
    description: {{ .description | quote }}
    runbook_url: {{ $monitoring.runbookUrl }}/{{ include "zerda.runbook" .alert }}
{{- end }}
{{- end -}}
