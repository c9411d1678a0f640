/** A wake-up signal for one waiting task. */
export interface WakeUp {
  /** Ends the current wait, or the next one if no task is waiting. */
  notify(): void;
  /** Resolves with true on a notification, or with false after `ms` milliseconds. */
  wait(ms: number): Promise<boolean>;
}

export function createWakeUp(): WakeUp {
  let notified = false;
  let wake: (() => void) | undefined;
  return {
    notify() {
      notified = true;
      wake?.();
    },
    async wait(ms) {
      if (!notified) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.max(0, ms));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        wake = undefined;
      }
      const wasNotified = notified;
      notified = false;
      return wasNotified;
    },
  };
}
