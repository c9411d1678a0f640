import { Agent } from 'node:http';
import express from 'express';
import { createProxyMiddleware } from 'http-proxy-middleware';

/** The middleware with its defaults and a keep-alive agent. Without the agent it opens a connection per request. */
express()
  .use(createProxyMiddleware({ target: process.env.UPSTREAM_URL, agent: new Agent({ keepAlive: true }) }))
  .listen(Number(process.env.PORT), '127.0.0.1');
