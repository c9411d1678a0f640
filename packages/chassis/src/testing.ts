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
