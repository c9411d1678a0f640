import { loadConfig } from '../packages/chassis/src/config/load-config.ts';
import { defaultRoutesFile, upstreamUrlVariables, variables } from '../packages/gateway/src/config.ts';
import { describeTable } from '../packages/gateway/src/routes/describe-table.ts';
import { readTable } from '../packages/gateway/src/routes/read-table.ts';
import { runCommand } from './lib/command.ts';

/** `npm run routes`: prints the effective route table of the gateway for this environment, including ROUTES_FILE. */
await runCommand(async () => {
  const { ROUTES_FILE, UPSTREAM_TIMEOUT_MS } = loadConfig(variables, process.env);
  const table = await readTable(ROUTES_FILE ?? defaultRoutesFile);
  const urls = loadConfig(upstreamUrlVariables(table), process.env);
  console.log(describeTable(table, { urls, timeoutMs: UPSTREAM_TIMEOUT_MS }));
  return 0;
});
