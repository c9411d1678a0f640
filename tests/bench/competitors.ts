import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../../scripts/lib/locked-packages.ts';
import { freePorts } from '../../scripts/lib/ports.ts';
import { startProcess } from '../../scripts/lib/service-process.ts';
import { bodies } from './bodies.ts';
import { findProgram, outputOf, startProgram } from './program.ts';
import type { RunningProxy, Surroundings } from './proxies.ts';

/** A proxy that the gateway is compared with. */
export interface Competitor {
  readonly name: string;
  /** @throws Error whose message says what is missing */
  start(surroundings: Surroundings): Promise<RunningProxy>;
}

const competitorsFolder = fileURLToPath(new URL('competitors/', import.meta.url));

/** In the order of the tables. */
export const competitors: readonly Competitor[] = [
  { name: 'nginx', start: startNginx },
  { name: 'Traefik', start: startTraefik },
  nodeCompetitor('@fastify/http-proxy', 'fastify-http-proxy.mjs', 'fastify'),
  nodeCompetitor('http-proxy-middleware', 'http-proxy-middleware.mjs', 'express'),
];

/** `proxy_pass` with connections kept alive, no log, and large bodies passed on instead of going through a file. */
async function startNginx({ upstreamPort, folder }: Surroundings): Promise<RunningProxy> {
  const command = await findProgram('nginx');
  if (command === undefined) throw new Error('there is no nginx on the PATH or in /usr/sbin');
  const [port = 0] = await freePorts(1);
  const file = join(folder, 'nginx.conf');
  await writeFile(
    file,
    `daemon off;
worker_processes 1;
error_log stderr warn;
pid ${folder}/nginx.pid;
events { worker_connections 1024; }
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
  const [, version = 'unknown'] = /nginx\/(\S+)/.exec(await outputOf(command, ['-v'])) ?? [];
  const args = ['-e', 'stderr', '-p', folder, '-c', file];
  const program = await startProgram({ command, args, readyUrl: readyUrl(port) });
  return { name: 'nginx', version, port, ...program };
}

/** With what a gateway has: circuit breaker, rate limit (too high to be reached), access log in JSON, metrics. */
async function startTraefik({ upstreamPort, folder }: Surroundings): Promise<RunningProxy> {
  const command = process.env.TRAEFIK || (await findProgram('traefik'));
  if (!command) throw new Error('TRAEFIK is not set, and there is no traefik on the PATH');
  const versions = await outputOf(command, ['version']).catch(() => {
    throw new Error('TRAEFIK is no program that can be run');
  });
  const [, version = 'unknown'] = /^Version:\s+(\S+)/m.exec(versions) ?? [];
  const [, go = 'unknown'] = /^Go version:\s+(\S+)/m.exec(versions) ?? [];
  const [port = 0, metricsPort = 0] = await freePorts(2);
  // JSON is YAML too.
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
      ...['--global.checknewversion=false', '--global.sendanonymoususage=false', '--log.level=ERROR'],
      ...[
        `--entrypoints.web.address=127.0.0.1:${port}`,
        `--entrypoints.metrics.address=127.0.0.1:${metricsPort}`,
      ],
      ...['--metrics.prometheus=true', '--metrics.prometheus.entrypoint=metrics'],
      ...['--accesslog=true', '--accesslog.format=json', `--providers.file.filename=${file}`],
    ],
    readyUrl: readyUrl(port),
  });
  return { name: 'Traefik', version: `${version} (${go})`, port, ...program };
}

/** A script of the competitors' package, whose `framework` is named with it in the versions. */
function nodeCompetitor(name: string, script: string, framework: string): Competitor {
  return {
    name,
    async start({ upstreamPort }) {
      await installLocked(competitorsFolder, 'the proxies in Node');
      const [port = 0] = await freePorts(1);
      const manifest = await readFile(join(competitorsFolder, 'package.json'), 'utf8');
      const { dependencies } = JSON.parse(manifest) as { dependencies: Readonly<Record<string, string>> };
      const child = startProcess(
        {
          name,
          file: join(competitorsFolder, script),
          env: {
            ...process.env,
            NODE_ENV: 'production',
            PORT: String(port),
            UPSTREAM_URL: `http://127.0.0.1:${upstreamPort}`,
          },
          readyUrl: readyUrl(port),
        },
        () => undefined,
      );
      await child.ready(10_000).catch(async (error) => {
        await child.stop();
        throw new Error(`${error.message}: ${child.lastLines.join(' ')}`);
      });
      const version = `${dependencies[name]} (${framework} ${dependencies[framework]})`;
      return { name, version, port, pid: child.pid ?? 0, stop: child.stop };
    },
  };
}

function readyUrl(port: number): string {
  return `http://127.0.0.1:${port}${bodies[0].path}`;
}
