import { createRequire } from 'node:module';
import {
  type DestinationStream,
  type Logger as PinoLogger,
  type LoggerOptions as PinoOptions,
  pino,
} from 'pino';
import { currentContext, requestLogFields } from '../request-context.ts';
import type { LogFields } from './catalog.ts';
import { describeError } from './describe-error.ts';
import { prettyOptions } from './pretty-options.ts';

/** Writes a line. `message` says what happened in a few words; values are fields. */
export interface WriteLine {
  (message: string): void;
  (fields: LogFields, message: string): void;
}

type LevelName = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/** The logger of pino, restricted to fields of the catalog. */
export interface Logger
  extends Omit<PinoLogger, LevelName | 'child'>,
    Readonly<Record<LevelName, WriteLine>> {
  child(fields: LogFields, options?: Pick<PinoOptions, 'redact'>): Logger;
}

export interface LoggerOptions {
  /** Name of the service, in every line. */
  readonly service: string;
  /** Minimum level of lines; `info` by default. */
  readonly level?: string;
  /** `json` or `pretty`; by default `pretty` if standard output is a terminal, else `json`. */
  readonly format?: 'json' | 'pretty' | undefined;
  /** Destination of lines; standard output by default. */
  readonly destination?: DestinationStream;
}

/**
 * Creates a logger that writes one JSON object per line. Lines written during a request include its correlation id, trace and span. Callers
 * log ids and outcomes, never bodies or credentials; redaction is a second safeguard.
 */
export function createLogger(options: LoggerOptions): Logger {
  return pino(
    {
      base: { service: options.service },
      level: options.level ?? 'info',
      messageKey: 'msg',
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
        return context === undefined ? {} : requestLogFields(context);
      },
    },
    options.destination ?? standardOutput(options.format ?? (process.stdout.isTTY ? 'pretty' : 'json')),
  );
}

let stampedMs = 0;
let stamp = '';

/** Returns the time of a line (RFC 3339). Lines of the same millisecond share the text, which is half of the cost of a line. */
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

/** Maximum characters of lines in one write. Batches save system calls under load. */
const batchLength = 15 * 1024;
/** Maximum time in milliseconds that a line is buffered. */
const batchMs = 50;

/**
 * Returns a buffered destination that writes synchronously and flushes when the process exits, so that the last lines are not lost. It
 * does not use the buffer of pino, which measures its whole content again for each line.
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

/** Returns the destination for a terminal; undefined without pino-pretty, a development dependency that images do not include. */
function prettyOutput(): DestinationStream | undefined {
  try {
    const pretty = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
    return pretty({ ...prettyOptions, destination: 1, sync: true });
  } catch {
    return undefined;
  }
}
