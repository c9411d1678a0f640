import proxy from '@fastify/http-proxy';
import Fastify from 'fastify';

/** Bare: the plugin and its defaults, without log. It keeps connections to the upstream alive by itself. */
const server = Fastify({ logger: false });
await server.register(proxy, { upstream: process.env.UPSTREAM_URL });
await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
