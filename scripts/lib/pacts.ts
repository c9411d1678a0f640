import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BrokenInteraction, PactVerification } from '../../packages/chassis/testing/pact-provider.ts';
import type { ServiceName } from './services.ts';

/** A pact file: what one service needs of another. */
export interface PactFile {
  readonly consumer: ServiceName;
  readonly provider: ServiceName;
  /** Absolute path. */
  readonly file: string;
}

/** Returns the pacts in the packages below `directory`, only those of one consumer or provider if given. */
export async function findPacts(
  directory: string,
  { consumer, provider }: Partial<Pick<PactFile, 'consumer' | 'provider'>> = {},
): Promise<PactFile[]> {
  const packages = join(directory, 'packages');
  const folders = (await readdir(packages)).sort().map((name) => join(packages, name, 'pacts'));
  const files = await Promise.all(
    folders.map(async (folder) =>
      (await readdir(folder).catch(() => [])).sort().map((name) => join(folder, name)),
    ),
  );
  const pacts = await Promise.all(files.flat().map(readNames));
  return pacts.filter(
    (pact) =>
      (consumer === undefined || pact.consumer === consumer) &&
      (provider === undefined || pact.provider === provider),
  );
}

async function readNames(file: string): Promise<PactFile> {
  const { consumer, provider } = JSON.parse(await readFile(file, 'utf8')) as {
    consumer: { name: string };
    provider: { name: string };
  };
  return { consumer: consumer.name, provider: provider.name, file };
}

/** Returns whether pacts can be verified against a service of the repository in `directory`. */
export async function hasPactProvider(directory: string, service: ServiceName): Promise<boolean> {
  const file = join(directory, 'packages', service, 'testing', 'pact-provider.ts');
  return (await stat(file).catch(() => undefined)) !== undefined;
}

/** Report of `npm run verify-pacts`. Other versions of the repository read and write it, so members are never removed. */
export interface PactReport {
  readonly pacts: readonly (PactVerification & {
    /** Absolute path of the pact. */
    readonly file: string;
  })[];
}

/** Returns a broken interaction as text: the pair and the description, then one indented line for each mismatch. */
export function formatBroken({ consumer, provider, ...interaction }: BrokenInteraction): string {
  return `${consumer} -> ${provider}: ${formatInteraction(interaction)}`;
}

/** Returns the description of an interaction, then one indented line for each mismatch. */
export function formatInteraction({
  description,
  mismatches,
}: Pick<BrokenInteraction, 'description' | 'mismatches'>): string {
  return [description, ...mismatches.map((mismatch) => `    ${mismatch}`)].join('\n');
}
