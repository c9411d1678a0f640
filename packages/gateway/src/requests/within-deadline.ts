import { Failure } from '@zerda/chassis/failure';
import type { RequestContext } from '@zerda/chassis/request-context';
import { withTimeout } from '@zerda/chassis/with-timeout';

/**
 * Waits for a result until the deadline of the request. The deadline does not cancel the work, because other requests
 * may wait for the same result.
 * @throws Failure `deadline-exceeded`
 */
export function withinDeadline<T>(
  result: Promise<T>,
  { deadline }: Pick<RequestContext, 'deadline'>,
): Promise<T> {
  return withTimeout(result, deadline.remainingMs(), () => {
    throw new Failure('deadline-exceeded');
  });
}
