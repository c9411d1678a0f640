import { count, httpUrl, milliseconds, secret } from '@zerda/chassis/config/values';
import { z } from 'zod';

/** A comma-separated list of base URLs. */
function httpUrls() {
  return z
    .string()
    .transform((text) => text.split(',').map((url) => url.trim()))
    .pipe(z.array(httpUrl()));
}

const natsUrl = /^(nats|tls):\/\/[^\s,]+(,\s*(nats|tls):\/\/[^\s,]+)*$/;

/** Returns the variables of a service that publishes or subscribes to events. */
export function eventVariables() {
  return {
    EVENT_SINKS: httpUrls()
      .optional()
      .describe(
        'Comma-separated URLs that every event is posted to: `/events` on the management port of each subscriber. Not used with NATS_URL.',
      ),
    EVENT_SECRET: secret()
      .optional()
      .describe(
        'Secret that signs events, at least 32 characters, the same for all services. Required with EVENT_SINKS or NATS_URL. Without it, `/events` is disabled.',
      ),
    EVENT_SECRET_PREVIOUS: secret()
      .optional()
      .describe(
        'Second secret that also signs and verifies events, for rotation of EVENT_SECRET. With NATS, keep it until the stream has no event that only this secret signed.',
      ),
    EVENT_SIGNATURES: z
      .enum(['required', 'accept-unsigned'])
      .default('required')
      .describe(
        'Signatures of events over NATS: `required` drops unsigned events; `accept-unsigned` applies them, for upgrades from a version without signatures. Invalid signatures, and unsigned events over HTTP, are always rejected.',
      ),
    EVENT_MAX_FAILURES: count(1)
      .default(10)
      .describe('Number of handler failures after which an event is moved to the dead letters.'),
    EVENT_LEASE_MS: milliseconds(100)
      .default(30_000)
      .describe(
        'Milliseconds that one process has an event leased. If the process dies, another takes the event after this time. The timeout of sending an event is a third of it, at most 10 s.',
      ),
    EVENT_RETENTION_HOURS: count(1)
      .default(72)
      .describe('Hours that published and processed events are retained in the outbox and inbox.'),
    NATS_URL: z
      .string()
      .regex(natsUrl, 'must be a comma-separated list of nats:// or tls:// URLs')
      .optional()
      .describe(
        'URLs of NATS with JetStream, the transport of events. If not set, events are sent over HTTP.',
      ),
    NATS_USER: z.string().optional().describe('NATS user.'),
    NATS_PASSWORD: z.string().optional().describe('Password of NATS_USER.'),
    NATS_CREDENTIALS_FILE: z.string().optional().describe('NATS credentials file, with a JWT and a key.'),
    NATS_CA_FILE: z.string().optional().describe('CA certificates (PEM) that verify the NATS server.'),
    NATS_CERT_FILE: z.string().optional().describe('Client certificate (PEM) for NATS.'),
    NATS_KEY_FILE: z.string().optional().describe('Private key (PEM) of NATS_CERT_FILE.'),
    NATS_STREAM_REPLICAS: count(1, 5)
      .default(1)
      .describe('Replicas of the stream in a NATS cluster, set by the service that creates the stream.'),
  };
}

/** Parsed values of `eventVariables`. */
export type EventConfig = z.output<z.ZodObject<ReturnType<typeof eventVariables>>>;

/** Returns the secrets that sign events and calls between services: the current one and, during rotation, the second one. */
export function eventSecrets({
  EVENT_SECRET,
  EVENT_SECRET_PREVIOUS,
}: Pick<EventConfig, 'EVENT_SECRET' | 'EVENT_SECRET_PREVIOUS'>): string[] {
  return [EVENT_SECRET, EVENT_SECRET_PREVIOUS].filter((value) => value !== undefined);
}
