import { Failure } from '@zerda/chassis/failure';
import { type OrderStatus, orderStatuses } from '@zerda/contracts/orders';

/** Which statuses an order may take from the one it has: the whole life of an order. */
const followers: Readonly<Record<OrderStatus, readonly OrderStatus[]>> = {
  pending: ['processing', 'cancelled'],
  processing: ['shipped', 'cancelled'],
  shipped: ['completed'],
  completed: [],
  cancelled: [],
};

/** Statuses that an order can be cancelled from, in the order in which it takes them. */
export const cancellable: readonly OrderStatus[] = orderStatuses.filter((status) =>
  followers[status].includes('cancelled'),
);

/** The status that every order begins with. */
export const firstStatus: OrderStatus = 'pending';

/**
 * The status an order has after it was asked to go from one to another.
 * @throws Failure `invalid-transition` when it may not, to the one it has already included
 */
export function moveStatus(from: OrderStatus, to: OrderStatus): OrderStatus {
  if (followers[from].includes(to)) return to;
  throw new Failure('invalid-transition', { detail: `An order that is ${from} cannot become ${to}.` });
}
