import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { findMajorChangesets } from './lib/changesets.ts';
import { exitCodeOf } from './lib/child-process.ts';
import { runCommand } from './lib/command.ts';
import { findLastRelease, type Release, readReleased } from './lib/releases.ts';
import { root, services } from './lib/services.ts';

/** An entry of oasdiff's JSON output. */
interface Change {
  readonly text: string;
  /** 3 is an error: a change that breaks clients. */
  readonly level: number;
  readonly operation?: string;
  readonly path?: string;
}

interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/**
 * `npm run api-changes -- [<service>...]`: compares the OpenAPI documents of services, by default of all, with those of their last
 * release. Exits with 1 if a change breaks clients and no changeset declares a major change of the service.
 */
await runCommand(async () => {
  const names = readNames();
  const folder = await mkdtemp(join(tmpdir(), 'zerda-api-changes-'));
  let isDeclared = true;
  try {
    for (const name of names) {
      const release = await findLastRelease(name);
      if (release === undefined) {
        console.log(`ok     ${name}: no release yet`);
        continue;
      }
      const changes = await findBreakingChanges(release, folder);
      const major = changes.length === 0 ? [] : await findMajorChangesets(root, `@zerda/${name}`);
      const isAllowed = changes.length === 0 || major.length > 0;
      console.log(
        `${isAllowed ? 'ok    ' : 'BROKEN'} ${name}: breaking changes since ${release.version}: ${changes.length}`,
      );
      for (const change of changes) console.log(`       ${change}`);
      if (major.length > 0) console.log(`       declared in .changeset/${major[0]}`);
      if (isAllowed) continue;
      console.error(
        `Keep the API of ${name} compatible, or declare "@zerda/${name}": major with npm run changeset.`,
      );
      isDeclared = false;
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return isDeclared ? 0 : 1;
});

function readNames(): readonly string[] {
  const known = services.map(({ name }) => name);
  try {
    const { positionals } = parseArgs({ allowPositionals: true, options: {} });
    const unknown = positionals.find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`${unknown} is not a service of this repository`);
    return positionals.length > 0 ? positionals : known;
  } catch (cause) {
    throw new StartupError(
      `${(cause as Error).message}. Use npm run api-changes -- [<service>...], with ${known.join(', ')}.`,
      78,
    );
  }
}

/** Returns what breaks clients of a service's API and of its management port, one line each. */
async function findBreakingChanges(release: Release, folder: string): Promise<string[]> {
  const { service } = release;
  const foreign = service === 'gateway' ? await readForeignOperations() : new Set<string>();
  const found: string[] = [];
  for (const path of [documentOf(service), documentOf(`${service}-management`)]) {
    const released = await readReleased(release, path);
    if (released === undefined) continue;
    const current = await readFile(join(root, path), 'utf8').catch(() => undefined);
    if (current === undefined) {
      found.push(`${path} was removed`);
      continue;
    }
    const base = join(folder, `${service}.json`);
    await writeFile(base, released);
    for (const change of await compare(base, join(root, path))) {
      const operation = `${change.operation} ${change.path}`;
      if (change.level >= 3 && !foreign.has(operation)) found.push(`${operation}: ${change.text}`);
    }
  }
  return found;
}

function documentOf(name: string): string {
  return `packages/contracts/openapi/${name}.json`;
}

/**
 * Returns the operations that the gateway only forwards, whose changes count for their service: those in the documents of the other
 * services, now and in their last release.
 */
async function readForeignOperations(): Promise<ReadonlySet<string>> {
  const others = services.filter(({ name }) => name !== 'gateway');
  const texts = await Promise.all(
    others.flatMap(({ name }) => [
      readFile(join(root, documentOf(name)), 'utf8'),
      findLastRelease(name).then((release) => release && readReleased(release, documentOf(name))),
    ]),
  );
  return new Set(
    texts.flatMap((content) => {
      if (content === undefined) return [];
      const { paths } = JSON.parse(content) as OpenApiDocument;
      return Object.entries(paths).flatMap(([path, operations]) =>
        Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
      );
    }),
  );
}

/** Runs oasdiff on two documents. @throws StartupError (78) if it is not installed or cannot read a document */
async function compare(base: string, revision: string): Promise<readonly Change[]> {
  const child = spawn('oasdiff', ['breaking', '--format', 'json', base, revision], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [code, output, errors] = await Promise.all([
    exitCodeOf(child).catch(() => {
      throw new StartupError(
        'oasdiff is not on the PATH. Install it: go install github.com/oasdiff/oasdiff@v1.37.0',
        78,
      );
    }),
    text(child.stdout),
    text(child.stderr),
  ]);
  if (code !== 0)
    throw new StartupError(`oasdiff failed with exit code ${code}: ${errors.trim() || output.trim()}`, 78);
  return JSON.parse(output) as readonly Change[];
}
