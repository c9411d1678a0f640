import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { readBoundedFile } from '../lib/bounded-file.ts';
import { logFiles } from '../lib/log-files.ts';
import { flatten, type LogLine, type LogStore, maxLines, type TraceSpan, type TraceStore } from './model.ts';

/** Creates a store of the lines that `npm start` wrote to its data folder. */
export function createLocalLogs(dataDir: string): LogStore {
  const file = logFiles(dataDir).lines;
  return {
    name: file,
    async find(ids) {
      const lines = await readBoundedFile(file);
      if (lines === undefined)
        throw new StartupError(
          `${file} does not exist. Run npm start, or set LOGS_URL to the store of the system.`,
        );
      // Parsing all lines would take ten times as long.
      const candidates = lines.filter((line) => ids.some((id) => line.includes(id)));
      return (
        parseLines<object>(candidates)
          .map(toLogLine)
          .filter(
            ({ fields }) => ids.includes(fields.correlation_id ?? '') || ids.includes(fields.trace_id ?? ''),
          )
          // Lines of different processes arrive in batches.
          .sort((one, other) => (one.time < other.time ? -1 : one.time > other.time ? 1 : 0))
          .slice(0, maxLines)
      );
    },
  };
}

/** Creates a store of the spans that `npm start` wrote to its data folder. */
export function createLocalTraces(dataDir: string): TraceStore {
  const file = logFiles(dataDir).spans;
  return {
    name: file,
    async find(ids) {
      const spans = parseLines<TraceSpan>((await readBoundedFile(file)) ?? []);
      const traceIds = new Set(
        spans
          .filter(({ traceId, correlationId = '' }) => ids.includes(traceId) || ids.includes(correlationId))
          .map(({ traceId }) => traceId),
      );
      return spans.filter(({ traceId }) => traceIds.has(traceId));
    },
  };
}

/** Parses lines of JSON. A process that was killed may have left a part of a line, which is ignored. */
function parseLines<T>(lines: readonly string[]): T[] {
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as T];
    } catch {
      return [];
    }
  });
}

function toLogLine(line: object): LogLine {
  const { time = '', service = '', level = '', msg = '', ...fields } = flatten(line);
  return { time, service, level, message: msg, fields };
}
