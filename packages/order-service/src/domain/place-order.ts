import type { Answered, KeptAnswer, KeyedRequest } from '@zerda/chassis/idempotency/idempotency';
import type { NewOrder } from '@zerda/contracts/orders';
import type { OrderStore } from '../store/order-store.ts';
import type { StoredOrder } from '../store/tables.ts';
import { unknownUser } from './unknown-user.ts';

/** Answers who exists, for users of whom no event has told. */
export interface UserDirectory {
  /** @throws Failure `dependency-unavailable` when it cannot be known, `unauthenticated` when the caller is known no more */
  exists(userId: number): Promise<boolean>;
}

export interface PlaceOrderDependencies {
  readonly orders: Pick<OrderStore, 'findPlaced' | 'findUser' | 'place'>;
  readonly users: UserDirectory;
}

/** An order as its caller asked for it, and what a repeat of the request is answered with. */
export interface OrderRequest<Body> {
  readonly order: NewOrder;
  readonly keyed: KeyedRequest | undefined;
  readonly answer: (order: StoredOrder) => KeptAnswer<Body>;
}

export type PlaceOrder = <Body>(request: OrderRequest<Body>) => Promise<Answered<Body>>;

/**
 * Places an order for a user who exists: events have told of them, or else user-service is asked, before the transaction and
 * without a lock. That they are not deleted meanwhile is for the transaction to see.
 * @throws Failure `unknown-user`, `dependency-unavailable`, and those of `OrderStore.place`
 */
export function createPlaceOrder({ orders, users }: PlaceOrderDependencies): PlaceOrder {
  return async <Body>({ order, keyed, answer }: OrderRequest<Body>) => {
    const state = await orders.findUser(order.user_id);
    if (state !== 'known') {
      // A repeat is answered also when its user has gone, or cannot be asked for.
      const placed = await orders.findPlaced<Body>(keyed);
      if (placed !== undefined) return placed;
      if (state === 'deleted' || !(await users.exists(order.user_id))) throw unknownUser();
    }
    return orders.place(order, keyed, answer);
  };
}
