import { connectPostgres, type TestConnection } from '../../../packages/chassis/testing/postgres.ts';
import type { ServerProcess } from '../../../packages/chassis/testing/server.ts';

export type DatabaseName = 'users' | 'orders';

/** Address of a database. */
export type DatabaseAddress = Pick<ServerProcess, 'url'>;

/** Addresses of both databases. */
export type Databases = Readonly<Record<DatabaseName, DatabaseAddress>>;

/** Runs `work` with a new connection that bypasses all links, and closes it. */
export async function withConnection<T>(
  { url }: DatabaseAddress,
  work: (connection: TestConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectPostgres(url);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
