import type { Once } from '@zerda/chassis/idempotency/idempotency';
import type { NewOrder } from '@zerda/contracts/order-service/orders';
import type { Order } from './order.ts';
import { unknownUser } from './unknown-user.ts';

/** State of a user in the projection. */
export type UserState = 'known' | 'deleted';

/** Stores orders and the projection of users. */
export interface PlacedOrders {
  /** Returns the state of a user in the projection; undefined if the projection does not contain the user. */
  findUser(userId: number): Promise<UserState | undefined>;
  /**
   * Stores an order with its event. The caller must have verified that the user exists.
   * @param once wraps the writes; by default they always run
   * @throws Failure `unknown-user` if the projection says that the user was deleted
   */
  place(order: NewOrder, once?: Once<Order>): Promise<Order>;
}

/** Looks up users that are not in the projection. */
export interface UserDirectory {
  /**
   * Returns whether the user exists.
   * @throws Failure `dependency-unavailable` if user-service does not respond, `unauthenticated` if it rejects the access token
   */
  exists(userId: number): Promise<boolean>;
}

export interface PlaceOrderDependencies {
  readonly orders: PlacedOrders;
  readonly users: UserDirectory;
}

/**
 * Places an order for an existing user. If the user is not in the projection, user-service is called before the transaction.
 * The transaction itself detects a user who is deleted in the meantime.
 * @throws Failure `unknown-user`, `dependency-unavailable`
 */
export type PlaceOrder = (order: NewOrder, once?: Once<Order>) => Promise<Order>;

export function createPlaceOrder({ orders, users }: PlaceOrderDependencies): PlaceOrder {
  return async (order, once) => {
    const state = await orders.findUser(order.user_id);
    const exists = state === undefined ? await users.exists(order.user_id) : state === 'known';
    if (!exists) throw unknownUser();
    return orders.place(order, once);
  };
}
