import { createHmac, timingSafeEqual } from 'node:crypto';

/** Header in which a sender proves that it knows a secret: `t=<unix seconds>,v1=<hex>`, one `v1` a secret. */
export const signatureHeader = 'x-event-signature';

/** Seconds that a signature is good for, before and after its time; clocks may differ by that much. */
const toleranceSeconds = 300;

/**
 * Signs a body with each secret, the time included. While a secret is replaced there are two, so that whoever has one of them in
 * common with the sender takes the event, whatever the order in which services get the new one.
 */
export function sign(body: string, secrets: readonly string[], now = Date.now()): string {
  const time = Math.floor(now / 1000);
  return [`t=${time}`, ...secrets.map((secret) => `v1=${digest(time, body, secret).toString('hex')}`)].join(
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
  const parts = (header ?? '').split(',').map((part) => part.split('=', 2));
  const time = Number(parts.find(([name]) => name === 't')?.[1] ?? Number.NaN);
  if (!(Math.abs(now / 1000 - time) <= toleranceSeconds)) return false;
  const given = parts.filter(([name]) => name === 'v1').map(([, hex = '']) => Buffer.from(hex, 'hex'));
  return secrets.some((secret) => {
    const expected = digest(time, body, secret);
    return given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  });
}

function digest(time: number, body: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(`${time}.${body}`).digest();
}
