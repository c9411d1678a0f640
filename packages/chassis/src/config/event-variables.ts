import { z } from 'zod';
import { count, httpUrl, milliseconds } from './values.ts';

const secret = () => z.string().min(32, 'must have at least 32 characters');

/** Base URLs joined by commas. */
function httpUrls() {
  return z
    .string()
    .transform((text) => text.split(',').map((url) => url.trim()))
    .pipe(z.array(httpUrl()));
}

const natsUrl = /^(nats|tls):\/\/[^\s,]+(,\s*(nats|tls):\/\/[^\s,]+)*$/;

/** The variables of a service that sends or hears events. */
export function eventVariables() {
  return {
    EVENT_SINKS: httpUrls()
      .optional()
      .describe(
        'URLs, joined by commas, that every event is posted to: `/events` on the management port of each service that hears it. Not used with NATS_URL.',
      ),
    EVENT_SECRET: secret()
      .optional()
      .describe(
        'Secret of at least 32 characters that events are signed with, the same for all services. Required with EVENT_SINKS or NATS_URL; without it `/events` is closed.',
      ),
    EVENT_SECRET_PREVIOUS: secret()
      .optional()
      .describe(
        'Second secret that events are also signed with and verified against, while EVENT_SECRET is replaced. With NATS, keep it until the stream holds no event that was signed with it alone.',
      ),
    EVENT_SIGNATURES: z
      .enum(['required', 'accept-unsigned'])
      .default('required')
      .describe(
        'Events over NATS: `required` drops those without a signature; `accept-unsigned` applies them, for an upgrade from a version that did not sign. A wrong signature is never accepted, nor a posted event without one.',
      ),
    EVENT_MAX_FAILURES: count(1)
      .default(10)
      .describe('Failures of its handler after which an event goes to the dead letters.'),
    EVENT_LEASE_MS: milliseconds(100)
      .default(30_000)
      .describe(
        'Milliseconds that an event in hand belongs to one process; of one that died another takes it after that. A third of it is the time to send one, 10 s at most.',
      ),
    EVENT_RETENTION_HOURS: count(1)
      .default(72)
      .describe('Hours that events stay in outbox and inbox after they were sent or dealt with.'),
    NATS_URL: z
      .string()
      .regex(natsUrl, 'must be nats:// or tls:// URLs, joined by commas')
      .optional()
      .describe('NATS with JetStream to send and hear events through; when not set, they are posted.'),
    NATS_USER: z.string().optional().describe('User of NATS.'),
    NATS_PASSWORD: z.string().optional().describe('Password of NATS_USER.'),
    NATS_CREDENTIALS_FILE: z.string().optional().describe('File with a JWT and key for NATS.'),
    NATS_CA_FILE: z
      .string()
      .optional()
      .describe('File with the certificates that the one of NATS is checked against.'),
    NATS_CERT_FILE: z
      .string()
      .optional()
      .describe('File with the certificate that NATS asks this service for.'),
    NATS_KEY_FILE: z.string().optional().describe('File with the key of NATS_CERT_FILE.'),
    NATS_STREAM_REPLICAS: count(1, 5)
      .default(1)
      .describe('Copies of the stream in a cluster of NATS, for the service that makes it.'),
  };
}
