import { loadConfig } from '../packages/chassis/src/config/load-config.ts';
import {
  gatewayVariables,
  standardRoutesFile,
  upstreamUrlVariables,
} from '../packages/gateway/src/config.ts';
import { describeTable } from '../packages/gateway/src/routes/describe-table.ts';
import { readTable } from '../packages/gateway/src/routes/read-table.ts';
import { runCommand } from './lib/command.ts';

/** `npm run routes` prints the gateway's table as it is in force with this environment, ROUTES_FILE among it. */
await runCommand(async () => {
  const { ROUTES_FILE, UPSTREAM_TIMEOUT_MS } = loadConfig(gatewayVariables, process.env);
  const table = await readTable(ROUTES_FILE ?? standardRoutesFile);
  const urls = loadConfig(upstreamUrlVariables(table), process.env);
  console.log(describeTable(table, { urls, timeoutMs: UPSTREAM_TIMEOUT_MS }));
  return 0;
});
