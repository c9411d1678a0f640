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

/** Returns a function that runs each `work` in a later turn of the event loop, one per turn, in the order of the calls. */
export function onePerTurn(): (work: () => void) => void {
  const waiting: (() => void)[] = [];
  const scheduleTurn = inNextTurn(() => {
    const work = waiting.shift();
    if (waiting.length > 0) scheduleTurn();
    work?.();
  });
  return (work) => {
    waiting.push(work);
    scheduleTurn();
  };
}
