import { Failure } from '@zerda/chassis/failure';
import type { RequestContext } from '@zerda/chassis/request-context';
import { within } from '@zerda/chassis/within';

/**
 * Waits for a result that other requests may wait for too, as long as its caller does; what makes the result goes on.
 * @throws Failure `deadline-exceeded`
 */
export function withinDeadline<T>(
  result: Promise<T>,
  { deadline }: Pick<RequestContext, 'deadline'>,
): Promise<T> {
  return within(result, deadline.remainingMs(), () => {
    throw new Failure('deadline-exceeded');
  });
}
