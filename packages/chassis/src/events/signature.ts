import { createHmac, type Hmac, timingSafeEqual } from 'node:crypto';

/** Header in which a sender proves that it knows a secret; `sign` and `signMessage` write its value. */
export const signatureHeader = 'x-event-signature';

/** Seconds that a signature is good for, before and after its time; clocks may differ by that much. */
const toleranceSeconds = 300;

/** Names of the members of the header, one for each way of signing. */
const version = { request: 'v1', message: 'nats1' } as const;

/**
 * Signs a body with each secret, the time included: `t=<unix seconds>,v1=<hex>`, one `v1` a secret. While a secret is replaced there are
 * two, so that whoever has one of them in common with the sender takes the event, whatever the order in which services get the new one.
 */
export function sign(body: string, secrets: readonly string[], now = Date.now()): string {
  const time = Math.floor(now / 1000);
  return [`t=${time}`, ...signatures(version.request, secrets, (hmac) => requestText(hmac, time, body))].join(
    ',',
  );
}

/** Whether a signature was made of this body with one of the secrets, not long ago. */
export function isSigned(
  header: string | undefined,
  body: string,
  secrets: readonly string[],
  now = Date.now(),
): boolean {
  const [time = Number.NaN] = membersOf(header, 't').map(Number);
  if (!(Math.abs(now / 1000 - time) <= toleranceSeconds)) return false;
  return matches(membersOf(header, version.request), secrets, (hmac) => requestText(hmac, time, body));
}

/**
 * Signs a message of NATS with each secret: `nats1=<hex>`, one a secret. The signature covers the subject and the body, and no time: a
 * message waits in its stream for days, and a repeat of it has no effect (docs/decisions/0015).
 * @param subject the subject that the message is published to
 */
export function signMessage(subject: string, body: string, secrets: readonly string[]): string {
  return signatures(version.message, secrets, (hmac) => messageText(hmac, subject, body)).join(',');
}

/**
 * Returns whether a signature was made by `signMessage` with one of the secrets, for this subject and body.
 * @param body the bytes as they were received
 */
export function isMessageSigned(
  header: string | undefined,
  subject: string,
  body: Uint8Array,
  secrets: readonly string[],
): boolean {
  return matches(membersOf(header, version.message), secrets, (hmac) => messageText(hmac, subject, body));
}

/** Adds the text that is signed. */
type Write = (hmac: Hmac) => Hmac;

/** Begins with a digit. */
function requestText(hmac: Hmac, time: number, body: string): Hmac {
  return hmac.update(`${time}.${body}`);
}

/** Begins with a letter, so that it is never the text of a request. A subject has no line break, so the two parts cannot shift. */
function messageText(hmac: Hmac, subject: string, body: string | Uint8Array): Hmac {
  return hmac.update(`nats\n${subject}\n`).update(body);
}

function signatures(name: string, secrets: readonly string[], write: Write): string[] {
  return secrets.map((secret) => `${name}=${write(createHmac('sha256', secret)).digest('hex')}`);
}

function membersOf(header: string | undefined, wanted: string): string[] {
  const members = (header ?? '').split(',').map((member) => member.split('=', 2));
  return members.flatMap(([name, value = '']) => (name === wanted ? [value] : []));
}

function matches(given: readonly string[], secrets: readonly string[], write: Write): boolean {
  // Nothing is computed for what cannot match: a body may be long.
  const digests = given.map((hex) => Buffer.from(hex, 'hex')).filter(({ length }) => length === digestLength);
  if (digests.length === 0) return false;
  return secrets.some((secret) => {
    const expected = write(createHmac('sha256', secret)).digest();
    return digests.some((digest) => timingSafeEqual(digest, expected));
  });
}

/** Bytes of a SHA-256. */
const digestLength = 32;
