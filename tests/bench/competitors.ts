import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, freePorts } from '../../packages/chassis/testing/port.ts';
import { installLocked } from '../../scripts/lib/locked-packages.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { bodies } from './bodies.ts';
import { findProgram, readOutput, startProgram } from './program.ts';
import type { ProxyOptions, RunningProxy } from './proxies.ts';

/** A proxy to compare the gateway with. */
export interface Competitor {
  readonly name: string;
  /** @throws Error if the program is not installed or does not start */
  start(proxyOptions: ProxyOptions): Promise<RunningProxy>;
}

const competitorsFolder = fileURLToPath(new URL('competitors/', import.meta.url));

/** Competitors in the row order of the tables. */
export const competitors: readonly Competitor[] = [
  { name: 'nginx', start: startNginx },
  { name: 'Traefik', start: startTraefik },
  createNodeCompetitor('@fastify/http-proxy', 'fastify-http-proxy.mjs', 'fastify'),
  createNodeCompetitor('http-proxy-middleware', 'http-proxy-middleware.mjs', 'express'),
];

/** Starts nginx: `proxy_pass` with keep-alive connections, no access log, and large bodies streamed without temporary files. */
async function startNginx({ upstreamPort, folder }: ProxyOptions): Promise<RunningProxy> {
  const command = await findProgram('nginx');
  if (command === undefined) throw new Error('not found on the PATH or in /usr/sbin');
  const port = await freePort();
  const file = join(folder, 'nginx.conf');
  await writeFile(
    file,
    `daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections 10000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/client;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream service {
    server 127.0.0.1:${upstreamPort};
    keepalive 128;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_max_temp_file_size 0;
    }
  }
}
`,
  );
  const [, version = 'unknown'] = /nginx\/(\S+)/.exec(await readOutput(command, ['-v'])) ?? [];
  const args = ['-e', 'stderr', '-p', folder, '-c', file];
  const program = await startProgram({ command, args, readyUrl: readyUrl(port) });
  return { name: 'nginx', version, port, ...program };
}

/** Starts Traefik with the gateway's features: circuit breaker, rate limit (too high to be reached), JSON access log and metrics. */
async function startTraefik({ upstreamPort, folder }: ProxyOptions): Promise<RunningProxy> {
  const command = process.env.TRAEFIK || (await findProgram('traefik'));
  if (!command) throw new Error('TRAEFIK is not set and traefik is not on the PATH');
  const versions = await readOutput(command, ['version']).catch(() => {
    throw new Error('TRAEFIK is not an executable program');
  });
  const [, version = 'unknown'] = /^Version:\s+(\S+)/m.exec(versions) ?? [];
  const [, go = 'unknown'] = /^Go version:\s+(\S+)/m.exec(versions) ?? [];
  const [port = 0, metricsPort = 0] = await freePorts(2);
  // JSON is valid YAML.
  const file = join(folder, 'traefik.yml');
  await writeFile(
    file,
    JSON.stringify({
      http: {
        routers: { all: { rule: 'PathPrefix(`/`)', service: 'upstream', middlewares: ['breaker', 'limit'] } },
        middlewares: {
          breaker: {
            circuitBreaker: {
              expression: 'NetworkErrorRatio() > 0.5 || ResponseCodeRatio(500, 600, 0, 600) > 0.5',
            },
          },
          limit: { rateLimit: { average: 1_000_000, burst: 1_000_000 } },
        },
        services: { upstream: { loadBalancer: { servers: [{ url: `http://127.0.0.1:${upstreamPort}` }] } } },
      },
    }),
  );
  const program = await startProgram({
    command,
    args: [
      '--global.checknewversion=false',
      '--global.sendanonymoususage=false',
      '--log.level=ERROR',
      `--entrypoints.web.address=127.0.0.1:${port}`,
      `--entrypoints.metrics.address=127.0.0.1:${metricsPort}`,
      '--metrics.prometheus=true',
      '--metrics.prometheus.entrypoint=metrics',
      '--accesslog=true',
      '--accesslog.format=json',
      `--providers.file.filename=${file}`,
    ],
    readyUrl: readyUrl(port),
  });
  return { name: 'Traefik', version: `${version} (${go})`, port, ...program };
}

/**
 * Creates a competitor that runs a script of the competitors package.
 * @param framework package whose version is shown after the proxy's
 */
function createNodeCompetitor(name: string, script: string, framework: string): Competitor {
  return {
    name,
    async start({ upstreamPort }) {
      const { port, pid, stop } = await startScript(name, script, bodies[0].path, {
        UPSTREAM_URL: `http://127.0.0.1:${upstreamPort}`,
      });
      const manifest = await readFile(join(competitorsFolder, 'package.json'), 'utf8');
      const { dependencies } = JSON.parse(manifest) as { dependencies: Readonly<Record<string, string>> };
      const version = `${dependencies[name]} (${framework} ${dependencies[framework]})`;
      return { name, version, port, pid, stop };
    },
  };
}

/**
 * Installs the competitors package and runs a script of it with a free port.
 * @param path path that returns 200 when the script is ready
 * @throws Error with its output if it does not become ready
 */
export async function startScript(
  name: string,
  script: string,
  path: string,
  env: NodeJS.ProcessEnv,
): Promise<Omit<RunningProxy, 'version'>> {
  await installLocked(competitorsFolder, 'the Node.js programs');
  const port = await freePort();
  const child = startProcess(
    {
      name,
      file: join(competitorsFolder, script),
      env: { ...process.env, NODE_ENV: 'production', PORT: String(port), ...env },
      readyUrl: `http://127.0.0.1:${port}${path}`,
    },
    () => undefined,
  );
  await child.ready(10_000).catch(async (error) => {
    await child.stop();
    throw new Error(`${error.message}: ${child.lastLines.join(' ')}`);
  });
  return { name, port, pid: child.pid ?? 0, stop: child.stop };
}

function readyUrl(port: number): string {
  return `http://127.0.0.1:${port}${bodies[0].path}`;
}
