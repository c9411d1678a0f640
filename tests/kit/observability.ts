import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import {
  findServer,
  type ServerProcess,
  type ServerProgram,
  startServer,
} from '../../packages/chassis/testing/server.ts';
import { root } from '../../scripts/lib/services.ts';
import { jaeger } from './jaeger.ts';
import { otelCollector } from './otel-collector.ts';
import { prometheusProgram } from './prometheus.ts';
import { startVictoriaLogs, victoriaLogs } from './victoria-logs.ts';

/** The programs of `npm run observe` without Grafana, as compose.yaml configures them. */
export interface Observability {
  readonly prometheusUrl: string;
  readonly jaegerUrl: string;
  readonly victoriaLogsUrl: string;
  /** Adds lines to the log file of a container, as Docker writes them. */
  writeContainerLog(container: string, lines: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/** Returns the first program of `startObservability` that is not installed; undefined if all are. */
export async function findMissingProgram(): Promise<ServerProgram | undefined> {
  for (const program of [otelCollector, jaeger, prometheusProgram, victoriaLogs])
    if ((await findServer(program)) === undefined) return program;
  return undefined;
}

export interface ObservabilityOptions {
  /** Port of the collector for OTLP over HTTP. */
  readonly otlpPort: number;
  readonly services: readonly { readonly name: string; readonly managementUrl: string }[];
}

/** Starts the programs on free ports. Only addresses and paths differ from the configuration. */
export async function startObservability({
  otlpPort,
  services,
}: ObservabilityOptions): Promise<Observability> {
  const containers = await mkdtemp(join(tmpdir(), 'zerda-containers-'));
  const started: Pick<ServerProcess, 'stop'>[] = [];
  const close = async (): Promise<void> => {
    for (const { stop } of started.splice(0).reverse()) await stop();
    await rm(containers, { recursive: true, force: true });
  };
  async function start(starting: Promise<ServerProcess>): Promise<string> {
    const server = await starting;
    started.push(server);
    return server.url;
  }
  try {
    const victoriaLogsUrl = await start(startVictoriaLogs());
    const [tracesPort = 0, grpcPort = 0] = await freePorts(2);
    const jaegerUrl = await start(startJaegerAsConfigured(tracesPort, grpcPort));
    await start(
      startCollectorAsConfigured(otlpPort, {
        'exporters::otlp_http/traces::endpoint': `http://127.0.0.1:${tracesPort}`,
        'exporters::otlp_http/logs::logs_endpoint': `${victoriaLogsUrl}/insert/opentelemetry/v1/logs`,
        'receivers::file_log::include': `[${containers}/*/*-json.log]`,
      }),
    );
    const prometheusUrl = await start(startPrometheusAsConfigured(services));
    return {
      prometheusUrl,
      jaegerUrl,
      victoriaLogsUrl,
      async writeContainerLog(container, lines) {
        await mkdir(join(containers, container), { recursive: true });
        const time = new Date().toISOString();
        const text = lines.map((line) => `${JSON.stringify({ log: `${line}\n`, stream: 'stdout', time })}\n`);
        await appendFile(join(containers, container, `${container}-json.log`), text.join(''));
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Paths of the configurations. Jaeger has that of Kubernetes. */
const configurations = {
  collector: join(root, 'observability/collector.yaml'),
  jaeger: join(root, 'k8s/observability/jaeger-config.yaml'),
  prometheus: join(root, 'observability/prometheus.yaml'),
} as const;

/** Returns the arguments that read a configuration and replace settings in it. */
function configArguments(
  name: keyof typeof configurations,
  settings: Readonly<Record<string, string>>,
): string[] {
  return [
    `--config=${configurations[name]}`,
    ...Object.entries(settings).map(([path, value]) => `--config=yaml:${path}: ${value}`),
  ];
}

function startJaegerAsConfigured(tracesPort: number, grpcPort: number): Promise<ServerProcess> {
  return startServer(jaeger, {
    url: (port) => `http://127.0.0.1:${port}`,
    prepare: ({ port }) =>
      configArguments('jaeger', {
        'receivers::otlp::protocols::http::endpoint': `127.0.0.1:${tracesPort}`,
        'extensions::jaeger_query::http::endpoint': `127.0.0.1:${port}`,
        'extensions::jaeger_query::grpc::endpoint': `127.0.0.1:${grpcPort}`,
      }),
    connect: (url) =>
      Promise.all([url, `http://127.0.0.1:${tracesPort}`].map((server) => sendRequest(server))),
  });
}

function startCollectorAsConfigured(
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<ServerProcess> {
  return startServer(otelCollector, {
    port,
    url: () => `http://127.0.0.1:${port}`,
    prepare: () =>
      configArguments('collector', {
        'receivers::otlp::protocols::http::endpoint': `127.0.0.1:${port}`,
        ...settings,
      }),
    connect: (url) => sendRequest(url),
  });
}

async function startPrometheusAsConfigured(
  targets: ObservabilityOptions['services'],
): Promise<ServerProcess> {
  const { services } = parse(await readFile(join(root, 'compose.yaml'), 'utf8'));
  const flags: string[] = services.prometheus.command.filter(
    (flag: string) => !flag.startsWith('--config.file=') && !flag.startsWith('--storage.tsdb.path='),
  );
  return startServer(prometheusProgram, {
    url: (port) => `http://127.0.0.1:${port}`,
    async prepare({ folder, port }) {
      const config = parse(await readFile(configurations.prometheus, 'utf8'));
      config.rule_files = [join(root, 'k8s/monitoring/rules.yaml')];
      // The names of the targets are those of containers.
      for (const { file_sd_configs, relabel_configs } of config.scrape_configs) {
        file_sd_configs[0].files = [join(root, 'observability/targets.yaml')];
        relabel_configs.push(
          ...targets.map(({ name, managementUrl }) => ({
            source_labels: ['__address__'],
            regex: `${name}:9090`,
            target_label: '__address__',
            replacement: new URL(managementUrl).host,
          })),
        );
      }
      const file = join(folder, 'prometheus.yaml');
      await writeFile(file, stringify(config));
      return [
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        ...flags,
      ];
    },
    connect: async (url) => {
      const { status } = await sendRequest(`${url}/-/ready`);
      if (status !== 200) throw new Error(`Prometheus is not ready: ${status}`);
    },
  });
}
