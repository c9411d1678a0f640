import { currentContext, requestLogFields } from '../request-context.ts';
import type { Logger } from './logger.ts';

/** Levels that can be set in a running process, from most to fewest lines. */
export const settableLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

export type SettableLevel = (typeof settableLevels)[number];

/** Log level of a process. */
export interface LogLevelState {
  /** Level by LOG_LEVEL. */
  readonly configured: string;
  /** Current level. */
  readonly level: string;
  /** Time at which the configured level returns; undefined while it applies. */
  readonly until?: Date | undefined;
  /** The request that has debug lines; undefined if there is none. */
  readonly sampled?: { readonly id: string; readonly until: Date } | undefined;
}

/** Changes the log level of a process for a limited time. */
export interface LogLevels {
  state(): LogLevelState;
  /** Sets the level of all lines. Replaces an earlier call. */
  set(level: SettableLevel, forMs: number): void;
  /**
   * Writes lines from level `debug` for the requests and events with this correlation id or trace id. Other lines stay at the current
   * level. Replaces an earlier call.
   */
  sample(id: string, forMs: number): void;
  /** Returns to the configured level and ends the sampling. */
  reset(): void;
}

type LogMethod = (this: unknown, ...args: unknown[]) => void;

/**
 * Creates the control of a logger. Its children follow, unless they have a level of their own. While no request is sampled, a disabled line
 * costs as much as without the control.
 */
export function createLogLevels(logger: Logger): LogLevels {
  const configured = logger.level;
  let level = configured;
  let until: Date | undefined;
  let sampled: LogLevelState['sampled'];
  let levelTimer: NodeJS.Timeout | undefined;
  let sampleTimer: NodeJS.Timeout | undefined;

  function apply(): void {
    logger.level = level;
    const threshold = logger.levelVal;
    if (sampled === undefined || logger.isLevelEnabled('debug')) return;
    const { id } = sampled;
    logger.level = 'debug';
    // Setting the level has created the methods again. Those below the threshold write only lines of the sampled request.
    const methods = logger as unknown as Record<string, LogMethod>;
    for (const [name, value] of Object.entries(logger.levels.values)) {
      const write = methods[name];
      if (write === undefined || value >= threshold || value < logger.levelVal) continue;
      methods[name] = function (...args) {
        if (isOf(id, args[0])) write.apply(this, args);
      };
    }
  }

  function endLevel(): void {
    clearTimeout(levelTimer);
    level = configured;
    until = undefined;
  }

  function endSample(): void {
    clearTimeout(sampleTimer);
    sampled = undefined;
  }

  return {
    state: () => ({ configured, level, until, sampled }),
    set(newLevel, forMs) {
      endLevel();
      level = newLevel;
      until = new Date(Date.now() + forMs);
      levelTimer = setTimeout(() => {
        endLevel();
        apply();
        logger.info('log level restored');
      }, forMs).unref();
      apply();
    },
    sample(id, forMs) {
      endSample();
      sampled = { id, until: new Date(Date.now() + forMs) };
      sampleTimer = setTimeout(() => {
        endSample();
        apply();
      }, forMs).unref();
      apply();
    },
    reset() {
      endLevel();
      endSample();
      apply();
    },
  };
}

/** Returns whether a line is of the request with this correlation id or trace id. Code without a current request passes the ids itself. */
function isOf(id: string, fields: unknown): boolean {
  const { correlation_id, trace_id } = (fields ?? {}) as { correlation_id?: unknown; trace_id?: unknown };
  if (correlation_id !== undefined) return correlation_id === id || trace_id === id;
  const context = currentContext();
  if (context === undefined) return false;
  const ids = requestLogFields(context);
  return ids.correlation_id === id || ids.trace_id === id;
}
