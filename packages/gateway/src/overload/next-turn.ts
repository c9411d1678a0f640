/** Returns a function that runs `work` once in the next turn of the event loop, however often it is called until then. */
export function inNextTurn(work: () => void): () => void {
  let isScheduled = false;
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      work();
    });
  };
}
