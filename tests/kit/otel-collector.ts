import { randomUUID } from 'node:crypto';
import { appendFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { type ServerProgram, startServer } from '../../packages/chassis/testing/server.ts';
import { root } from '../../scripts/lib/services.ts';

/** The OpenTelemetry Collector, which tests use if it is installed. */
export const otelCollector = {
  title: 'OpenTelemetry Collector',
  names: ['otelcol-contrib', 'otelcol'],
  required: 'REQUIRE_OTELCOL',
} as const satisfies ServerProgram;

/** A running collector with the configuration of k8s/observability. */
export interface OtelCollector {
  /** Base URL for OTLP over HTTP. */
  readonly otlpUrl: string;
  /** Adds lines to the log file of a pod's container, as the container runtime writes them. */
  writePodLog(container: string, lines: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export interface CollectorTargets {
  /** Base URL of VictoriaLogs. */
  readonly logsUrl: string;
  /** Base URL for OTLP over HTTP of Jaeger. */
  readonly tracesUrl: string;
}

/** Starts the collector on a free port, with a folder for the logs of pods. @throws StartupError if it is not installed */
export async function startOtelCollector({ logsUrl, tracesUrl }: CollectorTargets): Promise<OtelCollector> {
  const logs = await mkdtemp(join(tmpdir(), 'zerda-pods-'));
  const { url, stop } = await startServer(otelCollector, {
    url: (port) => `http://127.0.0.1:${port}`,
    env: { LOGS_FOLDER: logs, LOGS_NAMESPACE: 'zerda', LOGS_URL: logsUrl, TRACES_URL: tracesUrl },
    prepare: ({ port }) => [
      `--config=${join(root, 'k8s/observability/collector-config.yaml')}`,
      `--config=yaml:receivers::otlp::protocols::http::endpoint: 127.0.0.1:${port}`,
    ],
    connect: (otlpUrl) => sendRequest(otlpUrl),
  });
  return {
    otlpUrl: url,
    async writePodLog(container, lines) {
      const file = join(logs, `zerda_zerda-${container}-1_${uid}`, container, '0.log');
      await mkdir(dirname(file), { recursive: true });
      const time = new Date().toISOString();
      await appendFile(file, lines.map((line) => `${time} stdout F ${line}\n`).join(''));
    },
    async close() {
      await stop();
      await rm(logs, { recursive: true, force: true });
    },
  };
}

/** The unique id in the names of the folders. */
const uid = randomUUID();
