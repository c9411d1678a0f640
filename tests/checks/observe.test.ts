import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { tracingVariables } from '../../packages/chassis/src/tracing/tracing-variables.ts';
import { allDashboards } from '../../scripts/dashboards/dashboards.ts';
import { services as ownServices, root } from '../../scripts/lib/services.ts';
import { runScript } from '../kit/command.ts';

const read = (file: string) => parse(readFileSync(join(root, file), 'utf8'), { merge: true });
const { services, volumes } = read('compose.yaml');
const programs = Object.entries(
  services as Record<string, { profiles?: string[]; image: string; ports?: string[]; volumes?: string[] }>,
).filter(([, { profiles = [] }]) => profiles.includes('observability'));
const grafana = join('observability', 'grafana');
const { datasources } = read(join(grafana, 'datasources', 'datasources.yaml'));

describe('profile observability of compose.yaml', () => {
  it('has Prometheus, Grafana, Jaeger, VictoriaLogs and a collector in exact versions', () => {
    assert.deepEqual(programs.map(([name]) => name).sort(), [
      ...['collector', 'grafana', 'jaeger', 'prometheus', 'victoria-logs'],
    ]);
    for (const [, { image }] of programs) assert.match(image, /^docker\.io\/[\w-]+\/[\w-]+:v?\d+\.\d+\.\d+$/);
    assert.match(services.grafana.environment.GF_PLUGINS_PREINSTALL_SYNC, /^[\w-]+@\d+\.\d+\.\d+$/);
  });

  it('publishes ports to this machine only, and mounts existing files that the programs cannot change', () => {
    for (const [name, { ports = [], volumes: mounts = [] }] of programs) {
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:\$\{ZERDA_\w+_PORT:-\d+\}:\d+$/, name);
      for (const mount of mounts) {
        const [source = '', , mode] = mount.split(':');
        if (source.startsWith('./')) assert.ok(existsSync(join(root, source)), mount);
        else if (!source.startsWith('/')) assert.ok(source in volumes, mount);
        if (/^[./]/.test(source)) assert.equal(mode, 'ro', mount);
      }
    }
  });

  it('scrapes every service of compose.yaml', () => {
    const [{ file_sd_configs: discoveries }] = read('observability/prometheus.yaml').scrape_configs;
    const [targets] = discoveries[0].files;
    assert.ok(services.prometheus.volumes.includes(`./observability/targets.yaml:${targets}:ro`));
    const [{ targets: addresses }] = read('observability/targets.yaml');
    assert.deepEqual(
      addresses.toSorted(),
      ownServices.map(({ name }) => `${name}:${services[name].environment.MANAGEMENT_PORT}`).sort(),
    );
  });

  it('is not needed by the services, which have the tracing variables of the environment', () => {
    // One name for all services would make them one service in traces.
    const expected = Object.keys(tracingVariables()).filter((name) => name !== 'OTEL_SERVICE_NAME');
    for (const { name } of ownServices) {
      const { environment, depends_on } = services[name];
      const passed = Object.entries(environment).filter(([variable]) => variable.startsWith('OTEL_'));
      assert.deepEqual(passed.map(([variable]) => variable).sort(), expected.sort());
      assert.ok(passed.every(([, value]) => value === null));
      for (const dependency of Object.keys(depends_on ?? {}))
        assert.ok(!programs.some(([program]) => program === dependency));
    }
  });
});

describe('Grafana of the profile', () => {
  it('has a data source of each type that the dashboards select', () => {
    const selected = allDashboards().flatMap(({ templating }) =>
      (templating?.list ?? []).filter(({ type }) => type === 'datasource').map(({ query }) => query),
    );
    assert.deepEqual(
      [...new Set(selected)].sort(),
      datasources.map(({ type }: { type: string }) => type).sort(),
    );
  });

  it('links to data sources that it has, at addresses of the profile', () => {
    const uids = datasources.map(({ uid }: { uid: string }) => uid);
    const linked = [...JSON.stringify(datasources).matchAll(/"datasourceUid":"([^"]+)"/g)];
    assert.ok(linked.length >= 3);
    for (const [, uid] of linked) assert.ok(uids.includes(uid), uid);
    for (const { url } of datasources)
      assert.ok(
        programs.some(([name]) => name === new URL(url).hostname),
        url,
      );
  });

  it('reads the dashboards of the chart', () => {
    const [{ options }] = read(join(grafana, 'dashboards', 'dashboards.yaml')).providers;
    const home = services.grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH;
    const mounted = services.grafana.volumes.find((mount: string) => mount.includes(`:${options.path}:`));
    assert.equal(mounted, `./charts/zerda/dashboards:${options.path}:ro`);
    assert.ok(existsSync(join(root, home.replace(options.path, 'charts/zerda/dashboards'))), home);
  });
});

describe('npm run observe', { skip: process.platform === 'win32' }, () => {
  /** Runs the command with a `docker` that prints its arguments and the endpoint for spans. */
  async function observe(context: TestContext, env: NodeJS.ProcessEnv, exitCode = 0) {
    const folder = await mkdtemp(join(tmpdir(), 'zerda-docker-'));
    context.after(() => rm(folder, { recursive: true, force: true }));
    const docker = `#!/bin/sh\necho "docker $*" "$OTEL_EXPORTER_OTLP_ENDPOINT"\nexit ${exitCode}\n`;
    await writeFile(join(folder, 'docker'), docker, { mode: 0o755 });
    const path = `${folder}${delimiter}${process.env.PATH}`;
    return runScript('observe', { OTEL_EXPORTER_OTLP_ENDPOINT: '', ...env, PATH: path }, ['--detach']);
  }

  it('starts the profile with tracing to its collector, and prints the addresses', async (context) => {
    const { code, stdout } = await observe(context, { ZERDA_GRAFANA_PORT: '3456' });
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^docker compose --profile observability up --build --wait --detach http:\/\/collector:4318$/m,
    );
    assert.match(stdout, /dashboards +http:\/\/localhost:3456$/m);
  });

  it('sends spans to the endpoint of the environment', async (context) => {
    const { stdout } = await observe(context, { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://other:4318' });
    assert.match(stdout, / http:\/\/other:4318$/m);
  });

  it('fails if Compose fails, and prints no addresses', async (context) => {
    const { code, stdout, stderr } = await observe(context, {}, 17);
    assert.equal(code, 1);
    assert.match(stderr, /^docker compose failed with exit code 17\.$/m);
    assert.doesNotMatch(stdout, /localhost/);
  });
});
