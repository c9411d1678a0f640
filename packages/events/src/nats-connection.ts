import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import type { Authenticator, NatsConnection, NodeConnectionOptions } from '@nats-io/transport-node';
import { type BackoffOptions, backoffMs } from '@zerda/chassis/backoff';
import type { Logger } from '@zerda/chassis/logging/logger';
import { StartupError } from '@zerda/chassis/startup-error';

/** Addresses and credentials of NATS. */
export interface NatsAccess {
  /** Comma-separated URLs: `nats://` or, with TLS, `tls://`. */
  readonly servers: string;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  /** File with a JWT and its key, as created by `nsc`. */
  readonly credentialsFile?: string | undefined;
  /** File with CA certificates that verify the server; the system's CAs by default. */
  readonly caFile?: string | undefined;
  /** Files with the client certificate and its key, for servers that require one. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface NatsConnectionOptions {
  readonly access: NatsAccess;
  /** Connection name that the server shows. Responses to this client use subjects below `_INBOX.<name>`. */
  readonly name: string;
  /** Response timeout in milliseconds. */
  readonly timeoutMs: number;
  readonly logger: Logger;
  /** Called after a reconnect. The server may have lost its state. */
  readonly onReconnect: () => void;
}

/** A connection that reconnects by itself and does not require the server at startup. */
export interface ReconnectingConnection {
  /** The connection while it is connected. A disconnected one would buffer messages and send them at any later time. */
  readonly usable: NatsConnection | undefined;
  /** Resolves with the connection once it is established; with undefined if it was closed before. */
  readonly first: Promise<NatsConnection | undefined>;
  /** Flushes buffered messages and disconnects. */
  close(): Promise<void>;
}

/** Delay between attempts to connect. */
export const natsBackoff: BackoffOptions = { baseMs: 100, maxMs: 5000 };

/**
 * Connects in the background with unlimited retries, so that a service can start while NATS is unavailable.
 * @throws StartupError (78) if the credentials file cannot be read
 */
export async function openNats({
  access,
  name,
  timeoutMs,
  logger,
  onReconnect,
}: NatsConnectionOptions): Promise<ReconnectingConnection> {
  // Loaded on demand, because services without NATS do not need it.
  const { connect, credsAuthenticator } = await import('@nats-io/transport-node');
  const options: NodeConnectionOptions = {
    ...(await connectionOptions(access, credsAuthenticator)),
    name,
    // A prefix per service, so that the permissions of the server can separate them.
    inboxPrefix: `_INBOX.${name}`,
    timeout: timeoutMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    // Detects a dead server after two missed pings; the default interval takes minutes.
    pingInterval: 2 * timeoutMs,
    ignoreAuthErrorAbort: true,
  };
  const closing = new AbortController();
  let connection: NatsConnection | undefined;
  let disconnected = false;

  async function connectFirst(): Promise<NatsConnection | undefined> {
    for (let failures = 1; !closing.signal.aborted; failures += 1) {
      try {
        const established = await connect(options);
        connection = established;
        void watchStatus(established);
        logger.info({ server: established.getServer() }, 'connected to NATS');
        return established;
      } catch (error) {
        if (failures === 1) logger.warn({ err: error }, 'NATS connection failed');
        const ms = backoffMs(failures, natsBackoff);
        await wait(ms, undefined, { signal: closing.signal }).catch(() => undefined);
      }
    }
    return undefined;
  }

  async function watchStatus(established: NatsConnection): Promise<void> {
    for await (const { type } of established.status()) {
      if (type === 'disconnect') {
        disconnected = true;
        logger.warn('NATS disconnected');
      } else if (type === 'reconnect') {
        disconnected = false;
        logger.warn('NATS reconnected');
        onReconnect();
      }
    }
  }

  const first = connectFirst();
  return {
    get usable() {
      return disconnected || closing.signal.aborted ? undefined : connection;
    },
    first,
    async close() {
      closing.abort();
      const established = await first;
      if (!disconnected) await established?.flush().catch(() => undefined);
      await established?.close();
    },
  };
}

async function connectionOptions(
  { servers, user, password, credentialsFile, caFile, certFile, keyFile }: NatsAccess,
  authenticator: (credentials: Uint8Array) => Authenticator,
): Promise<NodeConnectionOptions> {
  const withTls = servers.includes('tls://') || caFile !== undefined || certFile !== undefined;
  return {
    servers: servers.split(',').map((url) => url.trim()),
    ...(user !== undefined && { user }),
    ...(password !== undefined && { pass: password }),
    ...(credentialsFile !== undefined && {
      authenticator: authenticator(await readCredentials(credentialsFile)),
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

async function readCredentials(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new StartupError(
      `The NATS credentials file cannot be read: ${(error as Error).message}. Check NATS_CREDENTIALS_FILE.`,
      78,
    );
  }
}
