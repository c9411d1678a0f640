import { Failure } from '@zerda/chassis/failure';
import type { RequestContext } from '@zerda/chassis/request-context';

/**
 * Waits for a result that other requests may wait for too, as long as its caller does; what makes the result goes on.
 * @throws Failure `deadline-exceeded`
 */
export function withinDeadline<T>(
  result: Promise<T>,
  { deadline }: Pick<RequestContext, 'deadline'>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = (): void => reject(new Failure('deadline-exceeded'));
    const timer = setTimeout(late, deadline.remainingMs());
    result.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
