/**
 * Returns the outcome of a promise, or that of `onTimeout` if the promise does not settle in time. The work behind the promise is not
 * canceled; a late rejection is ignored.
 * @param ms timeout in milliseconds
 * @param onTimeout called when the timeout expires; its return value or error becomes the outcome
 */
export function withTimeout<T, L>(promise: Promise<T>, ms: number, onTimeout: () => L): Promise<T | L> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      try {
        resolve(onTimeout());
      } catch (error) {
        reject(error);
      }
    }, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
