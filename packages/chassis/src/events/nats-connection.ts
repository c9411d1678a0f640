import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import type { Authenticator, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import type { Logger } from '../logging/logger.ts';
import { StartupError } from '../startup-error.ts';
import { type BackoffOptions, backoffMs } from './backoff.ts';

/** Where NATS is, and how it is entered. */
export interface NatsAccess {
  /** URLs joined by commas: `nats://` or, with TLS, `tls://`. */
  readonly servers: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** File with a JWT and its key, as `nsc` writes it. */
  readonly credentialsFile?: string | undefined;
  /** File with the certificates that the server's is checked against; those of the system by default. */
  readonly caFile?: string | undefined;
  /** Files with the certificate and key of this client, for servers that ask for one. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface NatsConnectionOptions {
  readonly access: NatsAccess;
  /** Name that the server shows; responses to this client come to subjects below `_INBOX.<name>`. */
  readonly name: string;
  /** Milliseconds that the server has to answer. */
  readonly timeoutMs: number;
  readonly logger: Logger;
  /** Called when a connection that was broken is back: the server may have lost what it had. */
  readonly onReconnect: () => void;
}

/** A connection that comes back by itself, and need not be there at first. */
export interface LastingConnection {
  /** The connection while it can be used. What is sent on a broken one would lie in a buffer, to go out at any later time. */
  readonly usable: NatsConnection | undefined;
  /** Resolves with the first connection; with undefined when it was closed before there was one. */
  readonly first: Promise<NatsConnection | undefined>;
  /** Sends what lies in buffers, and disconnects for good. */
  close(): Promise<void>;
}

/** Pauses between attempts to reach the server. */
export const natsBackoff: BackoffOptions = { baseMs: 100, maxMs: 5000 };

/**
 * Connects in the background, without end: NATS being away must not keep a service from starting.
 * @throws StartupError (78) when the file with the credentials cannot be read
 */
export async function openNats({
  access,
  name,
  timeoutMs,
  logger,
  onReconnect,
}: NatsConnectionOptions): Promise<LastingConnection> {
  // Loaded here, for services that run without NATS never need it.
  const { connect, credsAuthenticator } = await import('@nats-io/transport-node');
  const options: NodeConnectionOptions = {
    ...(await accessOptions(access, credsAuthenticator)),
    name,
    // Of its own for each service, so that the server can keep one from reading the responses to another.
    inboxPrefix: `_INBOX.${name}`,
    timeout: timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    // Of a server that is gone without a word two answers to a ping are missing; by default only after minutes.
    pingInterval: 2 * timeoutMs,
    ignoreAuthErrorAbort: true,
  };
  const closing = new AbortController();
  let connection: NatsConnection | undefined;
  let broken = false;

  async function connectFirst(): Promise<NatsConnection | undefined> {
    for (let failures = 1; !closing.signal.aborted; failures += 1) {
      try {
        const made = await connect(options);
        connection = made;
        void follow(made);
        logger.info({ server: made.getServer() }, 'connected to NATS');
        return made;
      } catch (error) {
        if (failures === 1) logger.warn({ err: error }, 'NATS cannot be reached; events wait');
        const ms = backoffMs(failures, natsBackoff);
        await wait(ms, undefined, { signal: closing.signal }).catch(() => undefined);
      }
    }
    return undefined;
  }

  async function follow(made: NatsConnection): Promise<void> {
    for await (const { type } of made.status()) {
      if (type === 'disconnect') broken = true;
      else if (type === 'reconnect') {
        broken = false;
        onReconnect();
      } else continue;
      logger.warn(`NATS: ${type}`);
    }
  }

  const first = connectFirst();
  return {
    get usable() {
      return broken || closing.signal.aborted ? undefined : connection;
    },
    first,
    async close() {
      closing.abort();
      const made = await first;
      if (!broken) await made?.flush().catch(() => undefined);
      await made?.close();
    },
  };
}

async function accessOptions(
  { servers, user, password, credentialsFile, caFile, certFile, keyFile }: NatsAccess,
  authenticator: (credentials: Uint8Array) => Authenticator,
): Promise<NodeConnectionOptions> {
  const withTls = servers.includes('tls://') || caFile !== undefined || certFile !== undefined;
  return {
    servers: servers.split(',').map((url) => url.trim()),
    ...(user !== undefined && { user }),
    ...(password !== undefined && { pass: password }),
    ...(credentialsFile !== undefined && {
      authenticator: authenticator(await credentials(credentialsFile)),
    }),
    ...(withTls && {
      tls: {
        ...(caFile !== undefined && { caFile }),
        ...(certFile !== undefined && { certFile }),
        ...(keyFile !== undefined && { keyFile }),
      },
    }),
  };
}

async function credentials(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new StartupError(`the credentials of NATS cannot be read: ${(error as Error).message}`, 78);
  }
}
