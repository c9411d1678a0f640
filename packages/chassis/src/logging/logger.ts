import { createRequire } from 'node:module';
import { type DestinationStream, type Logger, pino } from 'pino';
import { currentContext } from '../request-context.ts';
import { describeError } from './describe-error.ts';

export type { Logger } from 'pino';

export interface LoggerOptions {
  /** Name of the service, on every line. */
  readonly service: string;
  /** Least severe level that is written; `info` by default. */
  readonly level?: string;
  /** `json` lines, or `pretty` ones for a terminal; by default what fits standard output. */
  readonly format?: 'json' | 'pretty' | undefined;
  /** Where lines go; standard output by default. */
  readonly destination?: DestinationStream;
}

/**
 * One JSON object a line on standard output; a line written while a request is in hand carries its correlation id.
 * Callers log ids and outcomes, never bodies or credentials; redaction is the second fence.
 */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      base: { service: options.service },
      level: options.level ?? 'info',
      timestamp: isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
      redact: [
        'authorization',
        'cookie',
        'password',
        'headers.authorization',
        'headers.cookie',
        '*.password',
      ],
      mixin: () => {
        const context = currentContext();
        return context === undefined ? {} : { correlation_id: context.correlationId };
      },
    },
    options.destination ?? standardOutput(options.format ?? (process.stdout.isTTY ? 'pretty' : 'json')),
  );
}

let stampedMs = 0;
let stamp = '';

/** The time of a line, as RFC 3339 has it. Lines of the same millisecond share the text: making it is half of a line's cost. */
function isoTime(): string {
  const now = Date.now();
  if (now !== stampedMs) {
    stampedMs = now;
    stamp = `,"time":"${new Date(now).toISOString()}"`;
  }
  return stamp;
}

function standardOutput(format: 'json' | 'pretty'): DestinationStream {
  return (format === 'pretty' ? prettyOutput() : undefined) ?? jsonOutput();
}

/** Characters of lines that are written together: under load a line costs no system call of its own. */
const batchLength = 15 * 1024;
/** Milliseconds that a line waits for others at most. */
const batchMs = 50;

/**
 * Written synchronously, and before the process ends in whatever way it can notice, so that the last lines are there. Lines wait here
 * and not in pino's own buffer, which measures all that it holds anew for each line.
 */
function jsonOutput(): DestinationStream & { flushSync(): void } {
  const output = pino.destination({ dest: 1, sync: true });
  let batch = '';
  let timer: NodeJS.Timeout | undefined;
  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    const lines = batch;
    batch = '';
    if (lines !== '') output.write(lines);
  }
  function flushSync(): void {
    flush();
    output.flushSync();
  }
  process.on('exit', flushSync);
  return {
    write(line) {
      batch += line;
      if (batch.length >= batchLength) flush();
      else timer ??= setTimeout(flush, batchMs).unref();
    },
    flushSync,
  };
}

/** pino-pretty is a development tool that images do not have: its absence means JSON. */
function prettyOutput(): DestinationStream | undefined {
  try {
    const pretty = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
    return pretty({
      destination: 1,
      sync: true,
      singleLine: true,
      ignore: 'pid,hostname,service',
      translateTime: 'HH:MM:ss',
    });
  } catch {
    return undefined;
  }
}
