/** Wakes one sleeper before their time. */
export interface Bell {
  /** Wakes the sleeper, or the next one when nobody sleeps. */
  ring(): void;
  /** Sleeps until the bell rings (true) or `ms` milliseconds have passed (false). */
  heard(ms: number): Promise<boolean>;
}

export function createBell(): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  return {
    ring() {
      rung = true;
      wake?.();
    },
    async heard(ms) {
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, Math.max(0, ms));
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        wake = undefined;
      }
      const heard = rung;
      rung = false;
      return heard;
    },
  };
}
