import {
  connectPostgres,
  type TestConnection,
  type TestPostgres,
} from '../../../packages/chassis/src/database/testing-postgres.ts';

export type DatabaseName = 'users' | 'orders';

/** Where a database is: what asks it need not have started it. */
export type Asked = Pick<TestPostgres, 'url'>;

/** Both databases of the system. */
export type Databases = Readonly<Record<DatabaseName, Asked>>;

/** Asks a database something, over a connection of its own and past every link. */
export async function ask<T>({ url }: Asked, work: (connection: TestConnection) => Promise<T>): Promise<T> {
  const connection = await connectPostgres(url);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}
