import type { Authentication } from '@zerda/chassis/auth/open-verifier';
import { silentLogger, testAudit, testMetrics } from '@zerda/chassis/testing/observed';
import type { Express } from 'express';
import { createApp } from '../src/app.ts';

/** Creates the app with a unit price of 2.50; authentication is off by default. */
export function createTestApp(authentication: Authentication = 'off'): Express {
  return createApp({
    unitPriceCents: 250,
    authentication,
    logger: silentLogger(),
    audit: testAudit(),
    metrics: testMetrics(),
    requestTimeoutMs: 10_000,
  });
}
