import { forwardPort } from '../../../scripts/lib/cluster.ts';
import type { Databases } from '../../faults/lib/databases.ts';
import { get } from './kubectl.ts';

/** Port forwards from this machine to both databases of a release. */
export interface ForwardedDatabases {
  readonly databases: Databases;
  stop(): Promise<void>;
}

const owners = { users: 'user-service', orders: 'order-service' } as const;

export async function forwardDatabases(namespace: string, release: string): Promise<ForwardedDatabases> {
  const [users, orders] = await Promise.all(
    (['users', 'orders'] as const).map(async (name) => {
      const service = `${release}-${owners[name]}-postgresql`;
      const [forward, password] = await Promise.all([
        forwardPort(namespace, service, { local: 0, remote: 5432 }),
        secretValue(namespace, service, 'password'),
      ]);
      return { forward, url: `postgres://${name}:${password}@${new URL(forward.url).host}/${name}` };
    }),
  );
  if (users === undefined || orders === undefined) throw new Error('a database is missing');
  return {
    databases: { users, orders },
    async stop() {
      await Promise.all([users.forward.stop(), orders.forward.stop()]);
    },
  };
}

/** Returns the decoded value of a Secret's key. */
export async function secretValue(namespace: string, name: string, key: string): Promise<string> {
  const { data } = await get(namespace, 'secret', name);
  return Buffer.from(data[key], 'base64').toString();
}
