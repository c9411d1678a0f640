import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { exitCodeOf } from './lib/child-process.ts';
import { onStopSignal, runCommand } from './lib/command.ts';
import { readDeployment } from './lib/deployments.ts';
import { findPacts, formatInteraction, hasPactProvider, type PactReport } from './lib/pacts.ts';
import {
  type Checkouts,
  createCheckouts,
  findLastRelease,
  findRelease,
  type Release,
  workingTree,
} from './lib/releases.ts';
import { services } from './lib/services.ts';

/** One version of a consumer and one of a provider, and what the first needs of the second. */
interface Pair {
  readonly consumer: Release;
  readonly provider: Release;
  /** Path of the pact. */
  readonly file: string;
}

/**
 * `npm run can-i-deploy -- <service> [<version>] <environment>`: verifies a version of a service, by default the working tree, against
 * each other service in the environment and against its last release, in both directions. Exits with 1 if an interaction breaks or a
 * service that the candidate needs is not deployed.
 */
await runCommand(async () => {
  const { service, version, environment } = readArguments();
  const names = services.map(({ name }) => name);
  if (!names.includes(service))
    throw new StartupError(`${service} is not a service. Use one of: ${names.join(', ')}.`, 78);
  const deployed = await readDeployment(environment, names);
  const candidate = await (version === undefined ? workingTree(service) : findRelease(service, version));
  const peers: Release[] = [];
  for (const name of names.filter((name) => name !== service)) {
    const entry = deployed.get(name);
    const running = entry && (await findRelease(name, entry.version));
    const last = await findLastRelease(name);
    if (running !== undefined) peers.push(running);
    if (last !== undefined && last.tag !== running?.tag) peers.push(last);
  }

  const folder = await mkdtemp(join(tmpdir(), 'zerda-can-i-deploy-'));
  const checkouts = createCheckouts(folder);
  let isDeployable = true;
  try {
    const needed = await findPacts(await checkouts.open(candidate), { consumer: service });
    for (const { provider } of needed.filter((pact) => !deployed.has(pact.provider))) {
      console.log(`BROKEN ${describe(candidate)} -> ${provider}: not deployed to ${environment}`);
      isDeployable = false;
    }
    for (const [provider, pairs] of groupByProvider(await findPairs(candidate, peers, checkouts))) {
      const report = await verify(provider, pairs, checkouts, join(folder, 'report.json'));
      for (const { consumer, file } of pairs) {
        const result = report.pacts.find((pact) => pact.file === file);
        if (result === undefined) throw new Error(`${file} was not verified`);
        const { interactions, broken } = result;
        const count = broken.length === 0 ? `${interactions}` : `${broken.length} of ${interactions}`;
        const verdict = broken.length === 0 ? 'ok    ' : 'BROKEN';
        console.log(`${verdict} ${describe(consumer)} -> ${describe(provider)}: ${count} interactions`);
        for (const interaction of broken)
          console.log(formatInteraction(interaction).replace(/^/gm, ' '.repeat(7)));
        if (broken.length > 0) isDeployable = false;
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const verb = isDeployable ? 'can' : 'cannot';
  console.log(`${describe(candidate)} ${verb} be deployed to ${environment}.`);
  return isDeployable ? 0 : 1;
});

function readArguments(): { service: string; version: string | undefined; environment: string } {
  const usage = 'Use npm run can-i-deploy -- <service> [<version>] <environment>';
  let positionals: string[];
  try {
    ({ positionals } = parseArgs({ allowPositionals: true, options: {} }));
  } catch (cause) {
    throw new StartupError(`${(cause as Error).message}. ${usage}`, 78);
  }
  const [service, ...others] = positionals;
  const environment = others.pop();
  if (service === undefined || environment === undefined || others.length > 1)
    throw new StartupError(`A service and an environment are needed. ${usage}`, 78);
  return { service, version: others[0], environment };
}

/** Returns the pacts of the peers with the candidate, and of the candidate with the peers. */
async function findPairs(
  candidate: Release,
  peers: readonly Release[],
  checkouts: Checkouts,
): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  for (const peer of peers) {
    for (const [consumer, provider] of [
      [peer, candidate],
      [candidate, peer],
    ] as const) {
      const found = await findPacts(await checkouts.open(consumer), {
        consumer: consumer.service,
        provider: provider.service,
      });
      pairs.push(...found.map(({ file }) => ({ consumer, provider, file })));
    }
  }
  return pairs;
}

/** Each version of a provider is started once. */
function groupByProvider(pairs: readonly Pair[]): ReadonlyMap<Release, readonly Pair[]> {
  const groups = new Map<Release, Pair[]>();
  for (const pair of pairs) groups.set(pair.provider, [...(groups.get(pair.provider) ?? []), pair]);
  return groups;
}

/** Runs the verification of the provider's version. @throws StartupError (78) if that version has none or cannot start */
async function verify(
  provider: Release,
  pairs: readonly Pair[],
  checkouts: Checkouts,
  report: string,
): Promise<PactReport> {
  const directory = await checkouts.open(provider, { modules: true });
  if (!(await hasPactProvider(directory, provider.service)))
    throw new StartupError(
      `${describe(provider)} cannot verify pacts, because its release does not contain testing/pact-provider.ts. Deploy a later version of it first.`,
      78,
    );
  await rm(report, { force: true });
  const pacts = pairs.flatMap(({ file }) => ['--pact', file]);
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', 'scripts/verify-pacts.ts', provider.service, '--report', report, ...pacts],
    { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  onStopSignal(() => child.kill('SIGTERM'));
  const [code, , errors] = await Promise.all([exitCodeOf(child), text(child.stdout), text(child.stderr)]);
  const content = await readFile(report, 'utf8').catch(() => undefined);
  if (content === undefined)
    throw new StartupError(
      `${describe(provider)} could not be verified (exit code ${code}): ${errors.trim()}`,
      78,
    );
  return JSON.parse(content) as PactReport;
}

function describe({ service, version, tag }: Release): string {
  return `${service} ${version}${tag === undefined ? ' (working tree)' : ''}`;
}
