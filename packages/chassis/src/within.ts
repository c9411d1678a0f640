/**
 * Waits for a promise for a time; what settles it goes on, and its late rejection is handled.
 * @param onLate called when the promise has not settled after `ms` milliseconds: what it returns or throws is the outcome
 */
export function within<T, L>(promise: Promise<T>, ms: number, onLate: () => L): Promise<T | L> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      try {
        resolve(onLate());
      } catch (error) {
        reject(error);
      }
    }, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
