import proxy from '@fastify/http-proxy';
import Fastify from 'fastify';

/** The plugin with its defaults and without a log. It keeps upstream connections alive by default. */
const server = Fastify({ logger: false });
await server.register(proxy, { upstream: process.env.UPSTREAM_URL });
await server.listen({ host: '127.0.0.1', port: Number(process.env.PORT) });
