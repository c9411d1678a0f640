import { createHmac, type Hmac, timingSafeEqual } from 'node:crypto';
import { headerNames } from '@zerda/contracts/protocol/headers';

/** Header with the signature of a request or message, as returned by `sign` or `signMessage`. */
export const signatureHeader = headerNames.signature;

/** Challenge of a response to a request without a valid signature. */
export const signatureChallenge = 'Signature realm="zerda"';

/** Maximum difference between the time of a signature and now, in seconds. It allows for clock skew. */
const toleranceSeconds = 300;

/** Names of the header members, by what they sign. */
const scheme = { request: 'v1', message: 'nats1' } as const;

/**
 * Signs a body and the current time with each secret: `t=<unix seconds>,v1=<hex>`, with one `v1` per secret. During a
 * rotation there are two secrets: a receiver needs only one of them, so services can get the new secret in any order.
 */
export function sign(body: string, secrets: readonly string[], now = Date.now()): string {
  const time = Math.floor(now / 1000);
  return [`t=${time}`, ...signatures(scheme.request, secrets, (hmac) => requestText(hmac, time, body))].join(
    ',',
  );
}

/** Returns whether the header has a recent signature of this body with one of the secrets. */
export function isSigned(
  header: string | undefined,
  body: string,
  secrets: readonly string[],
  now = Date.now(),
): boolean {
  const [time = Number.NaN] = membersOf(header, 't').map(Number);
  if (!(Math.abs(now / 1000 - time) <= toleranceSeconds)) return false;
  return matches(membersOf(header, scheme.request), secrets, (hmac) => requestText(hmac, time, body));
}

/**
 * Signs a NATS message with each secret: `nats1=<hex>`, one per secret. The signature covers the subject and the body.
 * It has no time, because a message can wait in its stream for days and a replay has no effect (docs/decisions/0015).
 * @param subject the subject of the message
 */
export function signMessage(subject: string, body: string, secrets: readonly string[]): string {
  return signatures(scheme.message, secrets, (hmac) => messageText(hmac, subject, body)).join(',');
}

/**
 * Returns whether the header has a signature of this subject and body with one of the secrets.
 * @param body the bytes as received
 */
export function isMessageSigned(
  header: string | undefined,
  subject: string,
  body: Uint8Array,
  secrets: readonly string[],
): boolean {
  return matches(membersOf(header, scheme.message), secrets, (hmac) => messageText(hmac, subject, body));
}

/** Writes the signed text to an HMAC. */
type WriteText = (hmac: Hmac) => Hmac;

/** Writes the signed text of a request, which starts with a digit. */
function requestText(hmac: Hmac, time: number, body: string): Hmac {
  return hmac.update(`${time}.${body}`);
}

/**
 * Writes the signed text of a message. It starts with a letter, so it never equals the text of a request. A subject
 * contains no line break, so the two parts are unambiguous.
 */
function messageText(hmac: Hmac, subject: string, body: string | Uint8Array): Hmac {
  return hmac.update(`nats\n${subject}\n`).update(body);
}

function signatures(name: string, secrets: readonly string[], write: WriteText): string[] {
  return secrets.map((secret) => `${name}=${write(createHmac('sha256', secret)).digest('hex')}`);
}

function membersOf(header: string | undefined, memberName: string): string[] {
  const members = (header ?? '').split(',').map((member) => member.split('=', 2));
  return members.flatMap(([name, value = '']) => (name === memberName ? [value] : []));
}

function matches(received: readonly string[], secrets: readonly string[], write: WriteText): boolean {
  // Without a candidate, the HMAC of a possibly large body is not computed.
  const digests = received
    .map((hex) => Buffer.from(hex, 'hex'))
    .filter(({ length }) => length === digestLength);
  if (digests.length === 0) return false;
  return secrets.some((secret) => {
    const expected = write(createHmac('sha256', secret)).digest();
    return digests.some((digest) => timingSafeEqual(digest, expected));
  });
}

/** Length of a SHA-256 digest in bytes. */
const digestLength = 32;
