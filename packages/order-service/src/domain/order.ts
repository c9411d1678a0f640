import type { OrderStatus } from '@zerda/contracts/order-service/orders';

/** An order of a user. */
export interface Order {
  readonly id: number;
  readonly userId: number;
  readonly product: string;
  readonly quantity: number;
  readonly totalCents: number;
  readonly status: OrderStatus;
  /** Incremented by each change. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
