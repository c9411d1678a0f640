import { type AuditLog, createAuditLog } from '../src/audit/audit-log.ts';
import { Failure } from '../src/failure.ts';
import { createLogger, type Logger } from '../src/logging/logger.ts';
import { createMetrics, type Metrics } from '../src/metrics/metrics.ts';

/** Creates a logger that records its lines in memory. */
export function recordingLogger(): { logger: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line: string) => void lines.push(JSON.parse(line)) },
  });
  return { logger, lines };
}

/** Creates a logger that discards its lines. */
export function silentLogger(): Logger {
  return createLogger({ service: 'test', level: 'silent', destination: { write: () => undefined } });
}

/** Creates an audit log of a service named `test` that writes to the logger; it discards its lines by default. */
export function testAudit(logger: Logger = silentLogger()): AuditLog {
  return createAuditLog(logger, { type: 'service', id: 'test' });
}

/** Creates metrics with a separate registry. */
export function testMetrics(): Metrics {
  return createMetrics({ service: 'test', version: '0.0.0' });
}

/** Returns a predicate for `assert.rejects`: whether an error is a `Failure` with this code. */
export function isFailure(code: string): (error: unknown) => error is Failure {
  return (error): error is Failure => error instanceof Failure && error.code === code;
}

/** Blocks work until a test opens it. */
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
