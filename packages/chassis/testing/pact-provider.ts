import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { loadPact } from './pact-library.ts';

/** A service with its real database, which pacts are verified against. */
export interface PactProvider {
  readonly name: string;
  /** Serves the API, and the operations of the management port that other services call. */
  readonly listener: RequestListener;
  /** Functions by name of a state. They set it up through the API or SQL, independent of earlier states. */
  readonly states: Readonly<Record<string, (params: StateParams) => Promise<void>>>;
  /** Returns an event of this type as the service sends it; undefined if it sends none. */
  findEvent(type: string): Promise<unknown>;
  /** Returns valid headers that replace the placeholders of a request. */
  credentials(request: Pick<IncomingMessage, 'headers' | 'url'>): Promise<Readonly<Record<string, string>>>;
  close(): Promise<void>;
}

/** Parameters of a state, as the consumer chose them. */
export type StateParams = Readonly<Record<string, unknown>>;

/** An interaction that the provider does not satisfy. */
export interface BrokenInteraction {
  readonly consumer: string;
  readonly provider: string;
  readonly description: string;
  /** What differs, one line each. */
  readonly mismatches: readonly string[];
}

/** Result of the verification of one pact file. */
export interface PactVerification {
  /** Number of interactions in the file. */
  readonly interactions: number;
  readonly broken: readonly BrokenInteraction[];
}

interface PactContent {
  readonly consumer: { readonly name: string };
  readonly provider: { readonly name: string };
  readonly interactions: readonly {
    readonly description: string;
    readonly type: string;
    readonly providerStates?: readonly { readonly name: string }[];
    /** Content of an event. */
    readonly contents?: { readonly content: { readonly type?: string } };
  }[];
}

/** Result of the library as JSON. */
interface LibraryResult {
  readonly errors: readonly {
    readonly interaction: string;
    readonly mismatch: {
      readonly message?: string;
      readonly mismatches?: readonly { readonly mismatch: string; readonly path?: string }[];
    };
  }[];
}

/** Verifies a pact file against its provider. The library prints each interaction to standard output. */
export async function verifyPact(provider: PactProvider, file: string): Promise<PactVerification> {
  const { Verifier } = await loadPact();
  const pact = JSON.parse(await readFile(file, 'utf8')) as PactContent;
  const broken = (description: string, mismatches: readonly string[]): BrokenInteraction => ({
    consumer: pact.consumer.name,
    provider: provider.name,
    description,
    mismatches,
  });

  // The library only warns about unknown states.
  const unprepared = pact.interactions.flatMap(({ description, providerStates = [] }) => {
    const unknown = providerStates.filter(({ name }) => !Object.hasOwn(provider.states, name));
    return unknown.map(({ name }) => broken(description, [`${provider.name} has no state "${name}"`]));
  });
  if (unprepared.length > 0) return { interactions: pact.interactions.length, broken: unprepared };

  const server = createServer(provider.listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await new Verifier({
      provider: provider.name,
      providerBaseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      pactUrls: [file],
      logLevel: 'error',
      timeout: 60_000,
      stateHandlers: Object.fromEntries(
        Object.entries(provider.states).map(([name, setUp]) => [
          name,
          async (params: unknown) => {
            await setUp((params ?? {}) as StateParams);
            return undefined;
          },
        ]),
      ),
      messageProviders: Object.fromEntries(
        pact.interactions.map(({ description, contents }) => [
          description,
          () => provider.findEvent(contents?.content.type ?? ''),
        ]),
      ),
      requestFilter: (request, _response, next) => {
        provider
          .credentials(request)
          .then((headers) => Object.assign(request.headers, headers))
          .then(() => next(), next);
      },
    }).verifyProvider();
    return { interactions: pact.interactions.length, broken: [] };
  } catch (error) {
    const result = parseResult(error as Error);
    return {
      interactions: pact.interactions.length,
      broken: result.errors.map(({ interaction, mismatch }) => {
        const found = pact.interactions.find(({ description }) => interaction.endsWith(` - ${description}`));
        return broken(found?.description ?? interaction, describeMismatch(mismatch));
      }),
    };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Returns the result that the library reports as the message of an error. @throws the error if it is another one */
function parseResult(error: Error): LibraryResult {
  let result: Partial<LibraryResult> | undefined;
  try {
    result = JSON.parse(error.message) as Partial<LibraryResult>;
  } catch {
    throw error;
  }
  if (result?.errors === undefined || result.errors.length === 0) throw error;
  return result as LibraryResult;
}

function describeMismatch({ message, mismatches }: LibraryResult['errors'][number]['mismatch']): string[] {
  if (mismatches === undefined) return [message ?? 'The interaction failed.'];
  return mismatches.map(({ path, mismatch }) => (path === undefined ? mismatch : `${path}: ${mismatch}`));
}
