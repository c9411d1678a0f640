import { z } from 'zod';
import { count, flag, milliseconds } from '../config/values.ts';
import { StartupError } from '../startup-error.ts';
import { samplerNames } from './sampler.ts';

const protocols = ['http/protobuf', 'http/json'] as const;

/** An URL of a collector. */
function endpoint() {
  return z
    .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' })
    .refine((value) => new URL(value).hash === '', 'must have no fragment');
}

function protocol() {
  return z.enum(protocols, { error: `must be ${protocols.join(' or ')}` });
}

/** Comma-separated `name=value` pairs whose values are percent-encoded (W3C Baggage). */
function pairs(namePattern: RegExp) {
  return z.string().transform((text, context): Readonly<Record<string, string>> => {
    const parsed: Record<string, string> = {};
    for (const part of text.split(',').filter((entry) => entry.trim() !== '')) {
      const [name = '', ...rest] = part.split('=');
      const value = decode(rest.join('=').trim());
      if (rest.length === 0 || !namePattern.test(name.trim()) || value === undefined) {
        context.addIssue('must be comma-separated name=value pairs with percent-encoded values');
        return z.NEVER;
      }
      parsed[name.trim()] = value;
    }
    return parsed;
  });
}

function decode(text: string): string | undefined {
  try {
    const value = decodeURIComponent(text);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are invalid in headers.
    return /[\u0000-\u001f\u007f]/.test(value) ? undefined : value;
  } catch {
    return undefined;
  }
}

const headerName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Returns the variables of tracing, which are those of OpenTelemetry. */
export function tracingVariables() {
  return {
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint()
      .optional()
      .describe(
        'Base URL of an OpenTelemetry collector, such as `http://collector:4318`. Spans are posted to `/v1/traces` below it. If neither it nor OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, tracing is off.',
      ),
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint()
      .optional()
      .describe('Complete URL for spans, instead of OTEL_EXPORTER_OTLP_ENDPOINT.'),
    OTEL_EXPORTER_OTLP_PROTOCOL: protocol()
      .default('http/protobuf')
      .describe(
        'Protocol of the collector: `http/protobuf` or `http/json`. OTLP over gRPC is not supported.',
      ),
    OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol()
      .optional()
      .describe('Protocol for spans, instead of OTEL_EXPORTER_OTLP_PROTOCOL.'),
    OTEL_EXPORTER_OTLP_HEADERS: pairs(headerName)
      .optional()
      .describe(
        'Headers of each export, as comma-separated `name=value` pairs with percent-encoded values, such as `authorization=Bearer%20secret`.',
      ),
    OTEL_EXPORTER_OTLP_TRACES_HEADERS: pairs(headerName)
      .optional()
      .describe('Headers for spans; they replace those of OTEL_EXPORTER_OTLP_HEADERS with the same name.'),
    OTEL_EXPORTER_OTLP_TIMEOUT: milliseconds(1)
      .default(10_000)
      .describe('Timeout of an export in milliseconds, including its retries.'),
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: milliseconds(1)
      .optional()
      .describe('Timeout for spans in milliseconds, instead of OTEL_EXPORTER_OTLP_TIMEOUT.'),
    OTEL_TRACES_SAMPLER: z
      .enum(samplerNames, { error: `must be one of ${samplerNames.join(', ')}` })
      .default('parentbased_always_on')
      .describe(
        'Sampler. `parentbased_` samplers follow the caller, and decide by the rest of their name if there is none.',
      ),
    OTEL_TRACES_SAMPLER_ARG: z
      .string()
      .regex(/^(0?\.\d+|[01](\.0*)?|0\.\d*)$/, 'must be a number from 0 to 1')
      .transform(Number)
      .optional()
      .describe('Share of sampled traces from 0 to 1, for the `traceidratio` samplers; 1 if not set.'),
    OTEL_SERVICE_NAME: z
      .string()
      .max(255)
      .optional()
      .describe('Name of the service in traces (`service.name`); that of the service if not set.'),
    OTEL_RESOURCE_ATTRIBUTES: pairs(/^[\x21-\x7e]{1,255}$/)
      .optional()
      .describe(
        'Attributes of this process in traces, as comma-separated `name=value` pairs, such as `k8s.pod.name=gateway-0`.',
      ),
    OTEL_BSP_MAX_QUEUE_SIZE: count(1)
      .default(2048)
      .describe('Maximum number of spans that wait for export. Further spans are dropped and counted.'),
    OTEL_BSP_SCHEDULE_DELAY: milliseconds(1)
      .default(5000)
      .describe('Maximum milliseconds between two exports. A full batch of 512 spans is exported at once.'),
    OTEL_SDK_DISABLED: flag().default(false).describe('Turns tracing off, also with an endpoint.'),
  };
}

/** Parsed variables of tracing. */
export type TracingConfig = z.output<z.ZodObject<ReturnType<typeof tracingVariables>>>;

/** Settings of the exporter. */
export interface ExporterSettings {
  readonly url: string;
  readonly protocol: (typeof protocols)[number];
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

/**
 * Returns the settings of the exporter; undefined if tracing is off.
 * @throws StartupError (78) if a ratio is set for a sampler without one
 */
export function exporterSettings(config: TracingConfig): ExporterSettings | undefined {
  if (config.OTEL_TRACES_SAMPLER_ARG !== undefined && !config.OTEL_TRACES_SAMPLER.endsWith('traceidratio')) {
    throw new StartupError(
      `OTEL_TRACES_SAMPLER_ARG has no effect with OTEL_TRACES_SAMPLER=${config.OTEL_TRACES_SAMPLER}. Set OTEL_TRACES_SAMPLER=parentbased_traceidratio, or remove OTEL_TRACES_SAMPLER_ARG.`,
      78,
    );
  }
  const base = config.OTEL_EXPORTER_OTLP_ENDPOINT;
  const url = config.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? (base && tracesUrl(base));
  if (url === undefined || config.OTEL_SDK_DISABLED) return undefined;
  return {
    url,
    protocol: config.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? config.OTEL_EXPORTER_OTLP_PROTOCOL,
    headers: { ...config.OTEL_EXPORTER_OTLP_HEADERS, ...config.OTEL_EXPORTER_OTLP_TRACES_HEADERS },
    timeoutMs: config.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT ?? config.OTEL_EXPORTER_OTLP_TIMEOUT,
  };
}

/** Returns the URL for spans below the base URL of a collector (OTLP exporter specification). */
function tracesUrl(base: string): string {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}
