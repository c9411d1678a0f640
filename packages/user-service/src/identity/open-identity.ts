import { randomBytes } from 'node:crypto';
import type { Database } from '@zerda/chassis/database/database';
import { createClientAddress, type TrustedProxies } from '@zerda/chassis/http/client-address';
import type { Logger } from '@zerda/chassis/logging/logger';
import type { Metrics } from '@zerda/chassis/metrics/metrics';
import { createKeySecrets } from './key-secrets.ts';
import { createLoginLimits } from './login-limits.ts';
import { registerLoginMetrics } from './login-metrics.ts';
import { type IdentityConfig, type Issuer, openKeySecrets } from './open-issuer.ts';
import { createPasswordQueue } from './password-queue.ts';
import { createPasswords } from './passwords.ts';
import { createSessions } from './sessions.ts';

export interface IdentityOptions {
  readonly config: IdentityConfig;
  readonly database: Database;
  /** Undefined if an external issuer logs users in. */
  readonly issuer: Issuer | undefined;
  /** Proxies in front of this service: the gateway. */
  readonly proxies: TrustedProxies;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'registry'>;
}

/** Creates the dependencies of the API for passwords, sessions and tokens. */
export function openIdentity({ config, database, issuer, proxies, logger, metrics }: IdentityOptions) {
  const queue = createPasswordQueue({
    concurrency: config.PASSWORD_CONCURRENCY,
    capacity: config.PASSWORD_QUEUE,
  });
  const configured = issuer?.secrets ?? openKeySecrets(config);
  const secrets = configured ?? createKeySecrets([randomBytes(32).toString('hex')]);
  const limits = createLoginLimits({ database, secrets });
  const passwords = createPasswords({
    database,
    queue,
    limits,
    onOutcome: registerLoginMetrics(metrics.registry, queue),
  });
  const sessions = createSessions({
    database,
    secrets,
    logger,
    seconds: config.AUTH_SESSION_HOURS * 3600,
  });
  return {
    passwords,
    limits,
    clientAddress: createClientAddress(proxies, logger),
    // Requires a configured secret: with a random key per replica, a repeat at another replica would look like a new request.
    passwordFingerprints:
      configured && ((password: string) => configured.fingerprints(`repeated password ${password}`)),
    signUp: config.AUTH_SIGN_UP,
    identity: issuer && { issuer, sessions },
  };
}
