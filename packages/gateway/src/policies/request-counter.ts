import type { Failure } from '@zerda/chassis/failure';
import type { Visit } from './visit.ts';

/** Counts requests against one limit. */
export interface RequestCounter {
  /** What it counts for, as metrics have it. */
  readonly scope: 'caller' | 'upstream';
  /** Counts the request, tells its caller how it stands, and why it is refused when it is. */
  count(visit: Visit): Promise<Failure | undefined>;
}
