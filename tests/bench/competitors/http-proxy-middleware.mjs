import { Agent } from 'node:http';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';

/** As bare as it goes; without an agent it would open a connection a request. */
express()
  .use(createProxyMiddleware({ target: process.env.UPSTREAM_URL, agent: new Agent({ keepAlive: true }) }))
  .listen(Number(process.env.PORT), '127.0.0.1');
