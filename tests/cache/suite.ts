import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installLocked } from '../../scripts/lib/locked-packages.ts';

/** The properties of a test of the suite that the command reads. */
interface SuiteTest {
  readonly id: string;
  /** Severity of a failure. Default: `required`. */
  readonly kind?: 'required' | 'optimal' | 'check';
  readonly browser_only?: boolean;
  readonly requests: readonly { readonly request_method?: string }[];
}

/** True if the test passed, else the error. The name is `Setup` if the preconditions could not be set up. */
export type SuiteResult = true | readonly [name: string, message: string];

/** The suite from npm or from a checkout of its repository. */
export interface Suite {
  /** Source of the suite. Each edition has its own list of passing tests, since a checkout has newer tests. */
  readonly edition: 'npm' | 'checkout';
  /** Script of the origin server, which reads its port from `npm_config_port`. */
  readonly serverScript: string;
  /** Tests that apply to proxies. */
  readonly tests: readonly SuiteTest[];
  /** Runs one test against the base URL. */
  run(test: SuiteTest): Promise<void>;
  /** Results of finished tests, by id. */
  readonly results: Readonly<Record<string, SuiteResult>>;
  /** Published results of other caches, by name. */
  readonly published: ReadonlyMap<string, Readonly<Record<string, SuiteResult>>>;
}

const suiteFolder = fileURLToPath(new URL('suite/', import.meta.url));

/**
 * Loads the suite and points it at a server.
 * @param baseUrl URL of the server
 * @param checkout folder of a checkout of github.com/http-tests/cache-tests with installed dependencies. Default: the npm package
 */
export async function loadSuite(baseUrl: string, checkout: string | undefined): Promise<Suite> {
  if (checkout === undefined) await installLocked(suiteFolder, 'the suite');
  const folder = checkout ?? join(suiteFolder, 'node_modules/http-cache-tests');
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
