import type { Once } from '@zerda/chassis/idempotency/idempotency';
import type { NewOrder } from '@zerda/contracts/order-service/orders';
import type { Order } from './order.ts';
import { unknownUser } from './unknown-user.ts';

/** Stores orders and the projection of users. */
export interface PlacedOrders {
  /**
   * Stores an order of a user in the projection, with its event. Returns undefined, and stores nothing, if the projection does not contain
   * the user, who may exist.
   * @param once wraps the writes; by default they always run
   * @throws Failure `unknown-user` if the projection says that the user was deleted
   */
  place(order: NewOrder, once?: Once<Order>): Promise<Order | undefined>;
  /**
   * Adds the user to the projection and stores an order with its event. The caller must have verified that the user exists.
   * @throws Failure `unknown-user` if the user was deleted in the meantime
   */
  placeForNewUser(order: NewOrder, once?: Once<Order>): Promise<Order>;
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
 * Places an order for an existing user. Users in the projection cost no call; for another one, user-service is called between two
 * transactions. A user who is deleted in the meantime is in the projection and is detected by the second one.
 * @throws Failure `unknown-user`, `dependency-unavailable`
 */
export type PlaceOrder = (order: NewOrder, once?: Once<Order>) => Promise<Order>;

export function createPlaceOrder({ orders, users }: PlaceOrderDependencies): PlaceOrder {
  return async (order, once) => {
    const placed = await orders.place(order, once);
    if (placed !== undefined) return placed;
    if (!(await users.exists(order.user_id))) throw unknownUser();
    return orders.placeForNewUser(order, once);
  };
}
