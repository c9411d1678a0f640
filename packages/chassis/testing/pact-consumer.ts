import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MatchersV3, PactV4 } from '@pact-foundation/pact';
import { describeWithPact } from './pact-library.ts';

/** State that the provider must set up before an interaction. */
interface ProviderState {
  readonly name: string;
  readonly params?: Readonly<Record<string, string | number>>;
}

interface Interaction {
  /** Unique in the pact; failures name it. */
  readonly description: string;
  readonly given: ProviderState;
}

/** A request of the consumer, and what it needs of the response. Values can be matchers. */
export interface ExpectedResponse extends Interaction {
  readonly request: {
    /** Path and query. */
    readonly target: string;
    /** Headers that the provider needs. */
    readonly headers?: Headers;
  };
  readonly status: number;
  readonly headers?: Headers;
  readonly body?: unknown;
}

/** An event that the consumer receives. Values can be matchers. */
export interface ExpectedEvent extends Interaction {
  readonly event: unknown;
}

type Headers = Readonly<Record<string, string | MatchersV3.Matcher<string>>>;

/** What a consumer needs of one provider. */
export interface Pact {
  /** Starts a server that gives the response to the request, and calls `test` with its URL. All of the pact is GET requests. */
  get(expected: ExpectedResponse, test: (url: string) => Promise<void>): Promise<void>;
  /** Calls `test` with the event. */
  receive(expected: ExpectedEvent, test: (event: unknown) => Promise<void>): Promise<void>;
}

export interface PactSuite {
  readonly matchers: typeof MatchersV3;
  openPact(provider: string): Pact;
}

/**
 * Runs a suite that records the pacts of a consumer. Its last test compares them with the files in the consumer's folder `pacts/`, and
 * replaces files that differ. Metadata is not compared, because it contains versions of Pact.
 * @param folder URL of the consumer's package
 */
export async function describePacts(
  consumer: string,
  folder: URL,
  suite: (recorder: PactSuite) => void,
): Promise<void> {
  const committed = fileURLToPath(new URL('pacts/', folder));
  await describeWithPact(`pacts of ${consumer}`, (library) => {
    let recorded: string;
    let unfinished = 0;

    before(async () => {
      recorded = await mkdtemp(join(tmpdir(), 'zerda-pacts-'));
    });
    after(() => rm(recorded, { recursive: true, force: true }));

    suite({
      matchers: library.MatchersV3,
      openPact(provider) {
        const create = (): PactV4 =>
          new library.PactV4({ consumer, provider, dir: recorded, logLevel: 'error' });
        const record = async (work: () => Promise<unknown>): Promise<void> => {
          unfinished += 1;
          await work();
          unfinished -= 1;
        };
        return {
          get: (expected, test) => record(() => recordResponse(create(), expected, test)),
          receive: (expected, test) => record(() => recordEvent(create(), expected, test)),
        };
      },
    });

    it(`are the same as those in packages/${consumer}/pacts`, async () => {
      assert.equal(unfinished, 0, 'Not compared, because an interaction failed.');
      const drifted = await replaceDrifted(recorded, committed);
      assert.deepEqual(drifted, [], 'These files were written. Review and commit them.');
    });
  });
}

function recordResponse(
  pact: PactV4,
  { description, given, request, status, headers, body }: ExpectedResponse,
  test: (url: string) => Promise<void>,
): Promise<unknown> {
  const { pathname, searchParams } = new URL(request.target, 'http://localhost');
  return pact
    .addInteraction()
    .given(given.name, given.params)
    .uponReceiving(description)
    .withRequest('GET', pathname, (builder) => {
      builder.query(Object.fromEntries(searchParams)).headers(request.headers ?? {});
    })
    .willRespondWith(status, (builder) => {
      // The body sets the content type, which `headers` can replace.
      if (body !== undefined) builder.jsonBody(body);
      builder.headers(headers ?? {});
    })
    .executeTest(({ url }) => test(url));
}

function recordEvent(
  pact: PactV4,
  { description, given, event }: ExpectedEvent,
  test: (event: unknown) => Promise<void>,
): Promise<unknown> {
  return pact
    .addAsynchronousInteraction()
    .given(given.name, given.params)
    .expectsToReceive(description, (builder) => {
      builder.withJSONContent(event);
    })
    .executeTest(({ contents }) => test(contents.content));
}

/** Writes recorded files that differ from the committed ones, removes those that were not recorded, and returns their names. */
async function replaceDrifted(recorded: string, committed: string): Promise<string[]> {
  await mkdir(committed, { recursive: true });
  const names = new Set([...(await readdir(recorded)), ...(await readdir(committed))]);
  const drifted: string[] = [];
  for (const name of [...names].sort()) {
    const after = await readPact(join(recorded, name));
    const before = await readPact(join(committed, name));
    if (JSON.stringify(comparable(after)) === JSON.stringify(comparable(before))) continue;
    drifted.push(name);
    if (after === undefined) await rm(join(committed, name));
    else await writeFile(join(committed, name), `${JSON.stringify(after, undefined, 2)}\n`);
  }
  return drifted;
}

interface PactContent {
  readonly interactions: readonly { readonly description: string }[];
  readonly metadata: unknown;
}

/** Returns a pact with sorted members and interactions, because Pact does not promise an order; undefined without a file. */
async function readPact(file: string): Promise<PactContent | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const pact = sorted(JSON.parse(text)) as PactContent;
  return {
    ...pact,
    interactions: pact.interactions.toSorted((a, b) => (a.description < b.description ? -1 : 1)),
  };
}

function comparable(pact: PactContent | undefined): unknown {
  return pact && { ...pact, metadata: undefined };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]));
}
