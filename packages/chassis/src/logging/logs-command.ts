import { parseArgs } from 'node:util';
import { problemDetails } from '@zerda/contracts/problems';
import { type SignedMethod, signedCallHeaders } from '../auth/signed-call.ts';
import { localUrl } from '../http/addresses.ts';
import { StartupError } from '../startup-error.ts';
import { logLevelPath, logLevelResponse, maxSeconds } from './log-level-call.ts';
import { settableLevels } from './log-levels.ts';

export interface LogsCommandOptions {
  readonly service: string;
  readonly config: {
    readonly HOST?: string | undefined;
    readonly MANAGEMENT_PORT: number;
    readonly MANAGEMENT_SECRET?: string | undefined;
  };
}

/** Milliseconds within which the running process responds. */
const timeoutMs = 5000;

/** Runs the `logs` command of a service, which reads and sets the log level of the process on this machine or in this pod. */
export function logs(service: LogsCommandOptions, args: readonly string[]): Promise<void> {
  return runLogsCommand(service, args, console.log);
}

/**
 * Runs `logs level [<level> | reset] [--for <time>] [--correlation-id <id>]` with a signed call to the running process.
 * @param print writes one line of output
 * @throws StartupError with the usage, without MANAGEMENT_SECRET, or if the process does not respond or rejects the call
 */
export async function runLogsCommand(
  { service, config }: LogsCommandOptions,
  args: readonly string[],
  print: (line: string) => void,
): Promise<void> {
  const { method, target } = parseCall(args);
  const secret = config.MANAGEMENT_SECRET;
  if (secret === undefined)
    throw new StartupError('MANAGEMENT_SECRET is not set. Set it to the value that the process uses.', 78);
  const url = `${localUrl(config.HOST ?? '127.0.0.1', config.MANAGEMENT_PORT)}${target}`;
  const { status, body } = await send(url, method, signedCallHeaders(target, [secret], method));
  if (status !== 200)
    throw new StartupError(`${service} rejected the call: ${describeProblem(status, body)}`);
  print(`${service}: ${describeState(body)}`);
}

interface Call {
  readonly method: SignedMethod;
  readonly target: string;
}

function parseCall(args: readonly string[]): Call {
  const { values, positionals } = parseOrUsage(args);
  const [topic, level, ...rest] = positionals;
  const hasOptions = Object.keys(values).length > 0;
  if (topic !== 'level' || rest.length > 0) throw usage();
  if (level === undefined || level === 'reset') {
    if (hasOptions) throw usage();
    return { method: level === undefined ? 'GET' : 'DELETE', target: logLevelPath };
  }
  const { for: time, 'correlation-id': correlationId } = values;
  const query = new URLSearchParams({ level });
  if (time !== undefined) query.set('seconds', String(secondsOf(time)));
  if (correlationId !== undefined) query.set('correlation_id', correlationId);
  return { method: 'PUT', target: `${logLevelPath}?${query}` };
}

function parseOrUsage(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { for: { type: 'string' }, 'correlation-id': { type: 'string' } },
    });
  } catch {
    throw usage();
  }
}

const secondsPerUnit: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** Converts a time such as `10m` to seconds. */
function secondsOf(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,5})([smh])$/.exec(text) ?? [];
  const seconds = Number(digits) * (secondsPerUnit[unit] ?? Number.NaN);
  if (!(seconds >= 1 && seconds <= maxSeconds))
    throw new StartupError(
      `--for must be a time from 1s to ${maxSeconds / 3600}h, such as 90s, 10m or 1h, not "${text}".`,
      78,
    );
  return seconds;
}

function usage(): StartupError {
  return new StartupError(
    [
      'usage: logs level: prints the log level of the process',
      `       logs level ${settableLevels.join('|')} [--for 10m]: sets the log level for a limited time, 15m by default`,
      '       logs level debug --correlation-id <id> [--for 10m]: writes debug lines of the requests with this correlation id or trace id',
      '       logs level reset: returns to LOG_LEVEL',
    ].join('\n'),
    78,
  );
}

async function send(
  url: string,
  method: SignedMethod,
  headers: Record<string, string>,
): Promise<{ status: number; body: unknown }> {
  try {
    const response = await fetch(url, { method, headers, signal: AbortSignal.timeout(timeoutMs) });
    return { status: response.status, body: JSON.parse(await response.text()) };
  } catch (cause) {
    throw new StartupError(
      `No process responds at ${new URL(url).host}. Start it, or set MANAGEMENT_PORT.`,
      1,
      {
        cause,
      },
    );
  }
}

function describeProblem(status: number, body: unknown): string {
  const { data } = problemDetails.safeParse(body);
  if (data === undefined) return `status ${status}`;
  // Without its handler, the path has no PUT and no DELETE.
  if (status === 404 || status === 405) return 'MANAGEMENT_SECRET is not set in the process.';
  if (status === 401) return 'MANAGEMENT_SECRET is not that of the process.';
  const errors = (data.errors ?? []).map(({ path, message }) => `${path} ${message}`);
  return errors.length > 0 ? `${errors.join('; ')}.` : `${data.title}.`;
}

function describeState(body: unknown): string {
  const { configured, level, until, sampled } = logLevelResponse.parse(body);
  return [
    until === undefined ? level : `${level} until ${until}, then ${configured}`,
    ...(sampled === undefined ? [] : [`debug lines of ${sampled.id} until ${sampled.until}`]),
  ].join('; ');
}
