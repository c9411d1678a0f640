import { root } from '../lib/services.ts';
import { findImportProblems } from './imports.ts';
import { findLicenseProblems } from './licenses.ts';
import { runTool } from './run-tool.ts';

/** A check returns its findings as text; an empty text means that it passed. */
export type Check = () => Promise<string>;

/**
 * Returns the checks that `npm run check` runs for the repository, and the pipeline of a service for its packages.
 * @param documents OpenAPI documents, as arguments of `redocly lint`
 * @param folders a service and the packages in its bundle; the repository by default
 */
export function sourceChecks(
  documents: readonly string[],
  folders: readonly string[] = [],
): Readonly<Record<string, Check>> {
  const [service] = folders;
  return {
    types: tool('typescript', 'tsc', ['-b', ...(service === undefined ? [] : [service])]),
    'lint and format': tool('@biomejs/biome', 'biome', ['check', '--error-on-warnings', ...folders]),
    imports: list(() => findImportProblems(root, service === undefined ? undefined : folders)),
    licenses: list(findLicenseProblems),
    'API documents': tool('@redocly/cli', 'redocly', ['lint', ...documents], {
      REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
    }),
  };
}

/** Returns a check that runs a command of an installed package. */
export function tool(
  packageName: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Check {
  return async () => {
    const { code, output } = await runTool(packageName, command, args, { env });
    return code === 0 ? '' : output.trimEnd() || `${command} ended with exit code ${code}`;
  };
}

/** Returns a check that prints each finding on a line. */
export function list(find: () => Promise<readonly string[]>): Check {
  return async () => (await find()).join('\n');
}
