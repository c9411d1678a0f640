import type { Queries } from '@zerda/chassis/database/database';
import type { NewOrder, OrderStatus } from '@zerda/contracts/order-service/orders';
import { insertOrder } from './order-store.ts';

/** Orders of the demo users 1 to 3: two pending, two completed with a total of 1549.97, and one shipped. */
const demoOrders: readonly (NewOrder & { readonly status: OrderStatus })[] = [
  { user_id: 1, product: 'Laptop', quantity: 1, total: 999.99, status: 'completed' },
  { user_id: 2, product: 'Phone', quantity: 1, total: 549.98, status: 'completed' },
  { user_id: 2, product: 'Headphones', quantity: 1, total: 149.9, status: 'pending' },
  { user_id: 3, product: 'Monitor', quantity: 2, total: 438, status: 'shipped' },
  { user_id: 3, product: 'Keyboard', quantity: 1, total: 89.5, status: 'pending' },
];

/** Stores the demo orders. */
export async function loadDemoOrders(tx: Queries): Promise<void> {
  for (const { status, ...order } of demoOrders) await insertOrder(tx, order, status);
}
