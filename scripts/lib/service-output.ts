import { z } from 'zod';
import { loadConfig } from '../../packages/chassis/src/config/load-config.ts';
import { flag } from '../../packages/chassis/src/config/values.ts';
import { receiveSpans } from '../trace/receive-spans.ts';
import { openBoundedFile } from './bounded-file.ts';
import { createPrefix, logVariables, wantsColor } from './console-lines.ts';
import { logFiles } from './log-files.ts';
import type { SystemPlan } from './services.ts';

const localVariables = z.object({ ZERDA_TRACES: flag().default(false) });

/** Where `npm start` and `npm run dev` write the output of the services. */
export interface ServiceOutput {
  /** Variables that each service needs. */
  readonly env: NodeJS.ProcessEnv;
  /** Prints a line on the console with the name of its service. Lines of the log also go to a file for `npm run trace`. */
  onLine(service: string, line: string): void;
  /** Returns a message of the command with the name of a service. */
  prefix(service: string, message: string): string;
  close(): Promise<void>;
}

/** Opens the output of the services of a plan. @throws StartupError (78) if ZERDA_TRACES is invalid */
export async function openServiceOutput(
  { dataDir }: Pick<SystemPlan, 'dataDir'>,
  stdout: { isTTY?: boolean },
  env: NodeJS.ProcessEnv,
): Promise<ServiceOutput> {
  const { ZERDA_TRACES } = loadConfig(localVariables, env);
  const color = wantsColor(stdout, env);
  const prefix = createPrefix(color);
  const format =
    logVariables(stdout, env).LOG_FORMAT === 'pretty' ? await prettyFormat(color) : (line: string) => line;
  const files = logFiles(dataDir);
  const onError = ({ message }: Error): void =>
    console.error(`Lines are not stored for npm run trace: ${message}`);
  const lines = openBoundedFile(files.lines, onError);
  const receiver = ZERDA_TRACES ? await receiveSpans(files.spans, onError) : undefined;
  return {
    // The files contain the lines as JSON; this process formats them for a terminal.
    env: { LOG_FORMAT: 'json', ...receiver?.env },
    onLine(service, line) {
      const isLogLine = line.startsWith('{');
      if (isLogLine) lines.add(line);
      console.log(prefix(service, isLogLine ? format(line) : line));
    },
    prefix,
    async close() {
      await receiver?.close();
      lines.close();
    },
  };
}

/** Returns a function that formats a line of the log for a terminal. */
async function prettyFormat(colorize: boolean): Promise<(line: string) => string> {
  const [{ prettyFactory }, { prettyOptions }] = await Promise.all([
    import('pino-pretty'),
    import('../../packages/chassis/src/logging/pretty-options.ts'),
  ]);
  const pretty = prettyFactory({ ...prettyOptions, colorize });
  return (line) => pretty(line).trimEnd();
}
