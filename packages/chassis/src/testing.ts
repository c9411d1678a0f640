import { Failure } from './failure.ts';
import { createLogger, type Logger } from './logging/logger.ts';
import { createMetrics, type Metrics } from './metrics/metrics.ts';

/** A logger that keeps its lines instead of writing them. */
export function recordingLogger(): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  });
  return { logger, lines };
}

/** A logger for tests that do not look at lines. */
export function silentLogger(): Logger {
  return createLogger({ service: 'test', level: 'silent', destination: { write: () => undefined } });
}

/** Metrics on a registry of their own. */
export function testMetrics(): Metrics {
  return createMetrics({ service: 'test', version: '0.0.0' });
}

/** Whether an error is a failure of that code, for `assert.rejects`. */
export function isFailure(code: string): (error: unknown) => error is Failure {
  return (error): error is Failure => error instanceof Failure && error.code === code;
}

/** A gate that work waits at until a test opens it. */
export interface Gate {
  /** Resolves once the gate is open. */
  pass(): Promise<void>;
  open(): void;
}

export function createGate(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, pass: () => opened };
}
