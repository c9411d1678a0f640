import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installLocked } from '../../scripts/lib/locked-packages.ts';

/** One test of the suite, as far as the command reads it. */
interface SuiteTest {
  readonly id: string;
  /** What a failure means; `required` by default. */
  readonly kind?: 'required' | 'optimal' | 'check';
  readonly browser_only?: boolean;
  readonly requests: readonly { readonly request_method?: string }[];
}

/** Why a test did not pass: `Setup` as name when the behavior it is about could not be reached. */
export type SuiteResult = true | readonly [name: string, message: string];

/** The suite, from npm or from a checkout of its repository. */
export interface Suite {
  /** `npm` or `checkout`: the list of tests that must pass depends on it, since a checkout has newer tests. */
  readonly edition: 'npm' | 'checkout';
  /** Script that runs its origin server; it reads the port from `npm_config_port`. */
  readonly serverScript: string;
  /** Tests that are about proxies. */
  readonly tests: readonly SuiteTest[];
  /** Runs one test against a base URL. */
  run(test: SuiteTest): Promise<void>;
  /** Results of the tests that have run, by id. */
  readonly results: Readonly<Record<string, SuiteResult>>;
  /** Published results of other caches, by name. */
  readonly published: ReadonlyMap<string, Readonly<Record<string, SuiteResult>>>;
}

const ownFolder = fileURLToPath(new URL('suite/', import.meta.url));

/**
 * Loads the suite and points it at a server.
 * @param checkout folder of a checkout of github.com/http-tests/cache-tests with its dependencies installed; the edition of npm by default
 */
export async function loadSuite(baseUrl: string, checkout: string | undefined): Promise<Suite> {
  if (checkout === undefined) await installLocked(ownFolder, 'the suite');
  const folder = checkout ?? join(ownFolder, 'node_modules/http-cache-tests');
  const engine = existsSync(join(folder, 'test-engine')) ? join(folder, 'test-engine') : folder;
  const load = (file: string) => import(pathToFileURL(file).href);
  const config = await load(join(engine, 'client/config.mjs'));
  const client = await load(join(engine, 'client/test.mjs'));
  const groups: { tests: SuiteTest[] }[] = [...(await load(join(folder, 'tests/index.mjs'))).default];
  const index: { file: string; name: string; type: string }[] = (
    await load(join(folder, 'results/index.mjs'))
  ).default;
  config.setBaseUrl(baseUrl);
  config.setUseBrowserCache(false);
  config.setFetch?.(createRequire(join(folder, 'package.json'))('node-fetch'));
  return {
    edition: checkout === undefined ? 'npm' : 'checkout',
    serverScript: join(engine, 'server/server.mjs'),
    tests: groups.flatMap(({ tests }) => tests).filter((test) => test.browser_only !== true),
    run: client.makeTest ?? client.makeCacheTest,
    results: client.testResults,
    published: new Map(
      index
        .filter(({ type }) => type !== 'browser')
        .map(({ name, file }) => [name, JSON.parse(readFileSync(join(folder, 'results', file), 'utf8'))]),
    ),
  };
}
