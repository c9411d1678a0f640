import type { Queries } from '@zerda/chassis/database/database';
import type { NewUser } from '@zerda/contracts/user-service/users';
import { insertUser } from './user-store.ts';

/** In an empty database these users get the ids 1 to 3, which the demo orders refer to. */
const demoUsers: readonly NewUser[] = [
  { name: 'Alice Johnson', email: 'alice@example.com', role: 'admin' },
  { name: 'Bob Smith', email: 'bob@example.com', role: 'user' },
  { name: 'Charlie Brown', email: 'charlie@example.com', role: 'user' },
];

/** Stores the demo users. */
export async function loadDemoUsers(tx: Queries): Promise<void> {
  for (const user of demoUsers) await insertUser(tx, user);
}
