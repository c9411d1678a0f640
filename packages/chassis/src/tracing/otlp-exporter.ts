import { ExportResultCode } from '@opentelemetry/core';
import {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from '@opentelemetry/otlp-exporter-base/node-http';
import type { ExporterSettings } from './tracing-variables.ts';

/**
 * Returns a function that posts encoded spans to the collector, with the retries of OpenTelemetry and its variables for TLS and
 * compression. It rejects if the collector does not accept them.
 */
export function createOtlpExporter(
  { url, headers, timeoutMs }: Pick<ExporterSettings, 'url' | 'headers' | 'timeoutMs'>,
  contentType: string,
): (request: Uint8Array) => Promise<void> {
  const delegate = createOtlpHttpExportDelegate<Uint8Array, object>(
    convertLegacyHttpOptions(
      { url, headers: { ...headers }, timeoutMillis: timeoutMs },
      'TRACES',
      'v1/traces',
      {
        'Content-Type': contentType,
      },
    ),
    { serializeRequest: (request) => request, deserializeResponse: () => ({}) },
    'otlp_http_span_exporter',
    { name: 'span', countItems: () => 0 },
    undefined,
  );
  return (request) =>
    new Promise((resolve, reject) => {
      delegate.export(request, ({ code, error }) => {
        if (code === ExportResultCode.SUCCESS) resolve();
        else reject(error);
      });
    });
}
