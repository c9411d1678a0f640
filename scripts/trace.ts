import { loadConfig } from '../packages/chassis/src/config/load-config.ts';
import { correlationIdPattern } from '../packages/chassis/src/request-context.ts';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runCommand } from './lib/command.ts';
import { planSystem } from './lib/services.ts';
import { findHistory } from './trace/find-history.ts';
import { formatHistory } from './trace/format-history.ts';
import { createJaeger } from './trace/jaeger.ts';
import { createLocalLogs, createLocalTraces } from './trace/local-files.ts';
import { traceVariables } from './trace/variables.ts';
import { createVictoriaLogs } from './trace/victoria-logs.ts';

const usage = `Usage: npm run trace -- <id>

Prints the log lines of all services and the traces of a request and its events. The id is a correlation id (header
X-Correlation-Id, member correlation_id of a problem), a trace id, or the value of the header traceresponse.`;

/** `npm run trace -- <id>`: exits with code 1 if no line and no span has the id. */
await runCommand(async () => {
  const [argument, ...rest] = process.argv.slice(2);
  if (argument === undefined || rest.length > 0 || !correlationIdPattern.test(argument))
    throw new StartupError(usage, 1);
  const { LOGS_URL, TRACES_URL } = loadConfig(traceVariables, process.env);
  const { dataDir } = planSystem(process.env);
  const logs = LOGS_URL === undefined ? createLocalLogs(dataDir) : createVictoriaLogs(LOGS_URL);
  const traces = TRACES_URL === undefined ? createLocalTraces(dataDir) : createJaeger(TRACES_URL);
  const id = idOf(argument);
  const history = await findHistory(id, { logs, traces });
  if (history.lines.length === 0 && history.spans.length === 0)
    throw new StartupError(
      `No line and no span has the id ${id} in ${logs.name} and ${traces.name}. Check the id; new lines take some seconds to arrive, old ones are deleted.`,
    );
  process.stdout.write(formatHistory(history));
  if (history.isIncomplete)
    console.error('\nMore was found than is shown. Search for the id of one trace to see all of it.');
  if (history.spans.length === 0)
    console.error(
      TRACES_URL === undefined
        ? '\nNo spans were found. To store them, run npm start with ZERDA_TRACES=true, or set TRACES_URL.'
        : `\nNo spans were found in ${traces.name}. The trace may not be sampled.`,
    );
  return 0;
});

/** Returns the id to search for: the trace id of a `traceresponse`, otherwise the argument. */
function idOf(argument: string): string {
  return /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(argument)?.[1] ?? argument;
}
