import { Failure } from '@zerda/chassis/failure';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/order-service/orders';

/** Allowed transitions: the next statuses of each status. */
const transitions: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  pending: ['processing', 'cancelled'],
  processing: ['shipped', 'cancelled'],
  shipped: ['completed'],
  completed: [],
  cancelled: [],
};

/** Statuses from which an order can be canceled, in the order of its lifecycle. */
export const cancellable: readonly OrderStatus[] = orderStatuses.filter((status) =>
  transitions[status].includes('cancelled'),
);

/** Status of a new order. */
export const firstStatus: OrderStatus = 'pending';

/**
 * Returns `to` if the transition is allowed.
 * @throws Failure `invalid-transition` otherwise, including when both statuses are the same
 */
export function moveStatus(from: OrderStatus, to: OrderStatus): OrderStatus {
  if (transitions[from].includes(to)) return to;
  throw new Failure('invalid-transition', { detail: `The transition from ${from} to ${to} is not allowed.` });
}
