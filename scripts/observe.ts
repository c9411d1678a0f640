import { runVisibly } from './lib/cluster.ts';
import { runCommand } from './lib/command.ts';

/**
 * `npm run observe -- [options of docker compose up]`: starts the system of compose.yaml with its images, and beside it Prometheus,
 * Grafana with the dashboards, Jaeger, VictoriaLogs and an OpenTelemetry Collector. Ends when all of them run.
 * ZERDA_GRAFANA_PORT, ZERDA_PROMETHEUS_PORT, ZERDA_JAEGER_PORT and ZERDA_LOGS_PORT set the ports of 127.0.0.1.
 */
await runCommand(async () => {
  const { env } = process;
  env.OTEL_EXPORTER_OTLP_ENDPOINT ||= 'http://collector:4318';
  const compose = ['docker', 'compose', '--profile', 'observability'] as const;
  await runVisibly([...compose, 'up', '--build', '--wait', ...process.argv.slice(2)]);
  const at = (port: string | undefined, standard: number, path = '') =>
    `http://localhost:${port || standard}${path}`;
  console.log(`
zerda is ready: curl ${at(env.ZERDA_GATEWAY_PORT, 8000, '/api/dashboard')}

  dashboards   ${at(env.ZERDA_GRAFANA_PORT, 3000)}
  metrics      ${at(env.ZERDA_PROMETHEUS_PORT, 9093)}
  traces       ${at(env.ZERDA_JAEGER_PORT, 16686)}
  log lines    ${at(env.ZERDA_LOGS_PORT, 9428, '/select/vmui')}

To stop: docker compose --profile observability down. With --volumes it deletes all data.`);
  return 0;
});
