import { readInTime } from '@zerda/chassis/metrics/read-in-time';
import { Gauge, type Registry } from 'prom-client';
import type { SigningKeys } from './signing-keys.ts';

/** Registers the age of the key that signs access tokens. The gauge is omitted while the database is unavailable. */
export function registerKeyAge(registry: Registry, keys: Pick<SigningKeys, 'list'>): void {
  new Gauge({
    name: 'signing_key_age_seconds',
    help: 'Seconds since the key that signs access tokens was first used; absent while the database is unavailable.',
    registers: [registry],
    async collect() {
      const list = await readInTime(() => keys.list());
      const signing = list?.find(({ state }) => state === 'signing');
      if (signing === undefined) this.remove();
      else this.set(Math.max(0, (Date.now() - signing.signsFrom.getTime()) / 1000));
    },
  });
}
