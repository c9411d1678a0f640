import { describeIf } from './server.ts';

export type PactLibrary = typeof import('@pact-foundation/pact');

/** Placeholder in pacts for the access token of an admin. Providers replace it by a valid token. */
export const pactAdminToken = 'admin.pact';

/** Placeholder in pacts for an access token that providers reject. */
export const pactInvalidToken = 'expired.pact';

/**
 * Loads Pact. Its native library is an optional package of each platform.
 * @throws Error with the name of the package that is missing
 */
export async function loadPact(): Promise<PactLibrary> {
  // Pact reports each run to its vendor otherwise.
  process.env.PACT_DO_NOT_TRACK = 'true';
  return import('@pact-foundation/pact');
}

/**
 * Runs a suite that needs Pact. If its native library does not load, the suite is one skipped test that names the missing package, or
 * one failed test with REQUIRE_PACT=1.
 */
export async function describeWithPact(title: string, suite: (library: PactLibrary) => void): Promise<void> {
  let library: PactLibrary | undefined;
  let reason = '';
  try {
    library = await loadPact();
  } catch (error) {
    [reason = ''] = (error as Error).message.split('\n', 1);
  }
  const program = { title: `the native library of Pact (${reason.trim()})`, required: 'REQUIRE_PACT' };
  describeIf(library !== undefined, program, title, () => suite(library as PactLibrary));
}
