import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { loadPact } from '../packages/chassis/testing/pact-library.ts';
import { type PactProvider, verifyPact } from '../packages/chassis/testing/pact-provider.ts';
import { runCommand } from './lib/command.ts';
import { findPacts, formatBroken, hasPactProvider, type PactReport } from './lib/pacts.ts';
import { root, services } from './lib/services.ts';

/**
 * `npm run verify-pacts -- [<service>...] [--pact <file>]... [--report <file>]`: verifies pacts against the services of this working tree,
 * by default all pacts against all services. `--pact` selects files, which can be those of another version, and `--report` writes the
 * result as JSON. `npm run can-i-deploy` runs this command of other versions, so options are never removed.
 */
await runCommand(async () => {
  const { names, pact, report } = readOptions();
  await loadPact().catch((cause: Error) => {
    throw new StartupError(`Pact did not load: ${cause.message}. Run npm ci with optional packages.`, 78);
  });
  const pacts: PactReport['pacts'][number][] = [];
  for (const name of names) {
    const files = pact ?? (await findPacts(root, { provider: name })).map(({ file }) => file);
    if (files.length === 0) continue;
    if (!(await hasPactProvider(root, name)))
      throw new StartupError(`packages/${name}/testing/pact-provider.ts is missing. Add it.`, 78);
    const { openPactProvider } = (await import(`../packages/${name}/testing/pact-provider.ts`)) as {
      openPactProvider: () => Promise<PactProvider>;
    };
    const provider = await openPactProvider();
    try {
      for (const file of files) pacts.push({ file, ...(await verifyPact(provider, file)) });
    } finally {
      await provider.close();
    }
  }
  if (report !== undefined) await writeFile(report, JSON.stringify({ pacts } satisfies PactReport));
  const broken = pacts.flatMap((pact) => pact.broken);
  const interactions = pacts.reduce((sum, pact) => sum + pact.interactions, 0);
  for (const line of broken.map(formatBroken)) console.error(line);
  console.log(`${interactions} interactions verified, ${broken.length} broken`);
  return broken.length === 0 ? 0 : 1;
});

function readOptions(): {
  readonly names: readonly string[];
  readonly pact: readonly string[] | undefined;
  readonly report: string | undefined;
} {
  const usage = 'Use npm run verify-pacts -- [<service>...] [--pact <file>]... [--report <file>]';
  const known = services.map(({ name }) => name);
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: { pact: { type: 'string', multiple: true }, report: { type: 'string' } },
    });
    const unknown = positionals.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`${unknown} is not a service of this repository`);
    if (values.pact !== undefined && positionals.length !== 1)
      throw new Error('--pact needs exactly one service');
    return {
      names: positionals.length > 0 ? positionals : known,
      pact: values.pact?.map((file) => resolve(file)),
      report: values.report,
    };
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message}. ${usage}`, 78);
  }
}
