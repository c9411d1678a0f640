import { apiDocuments } from './checks/api-documents.ts';
import { findDrift } from './checks/generated.ts';
import { findImportProblems } from './checks/imports.ts';
import { findLanguageProblems } from './checks/language.ts';
import { findLicenseProblems } from './checks/licenses.ts';
import { runTool } from './checks/run-tool.ts';
import { findStrictResponses } from './checks/strict-responses.ts';
import { findVersionProblems } from './checks/versions.ts';
import { runCommand } from './lib/command.ts';

/** A check returns its findings as text; an empty text means that it passed. */
type Check = () => Promise<string>;

const checks: Readonly<Record<string, Check>> = {
  types: tool('typescript', 'tsc', ['-b']),
  'lint and format': tool('@biomejs/biome', 'biome', ['check', '--error-on-warnings']),
  imports: list(findImportProblems),
  unused: tool('knip', 'knip', ['--no-progress', '--treat-config-hints-as-errors']),
  responses: list(findStrictResponses),
  versions: list(findVersionProblems),
  licenses: list(findLicenseProblems),
  generated: list(findDrift),
  language: list(findLanguageProblems),
  'API documents': tool('@redocly/cli', 'redocly', ['lint', ...apiDocuments()], {
    REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true',
  }),
};

/** `npm run check`: runs all checks in parallel, prints one line per check with its time, then the findings. */
await runCommand(async () => {
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      const startedAt = performance.now();
      const findings = await check();
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(`${findings === '' ? 'ok    ' : 'FAILED'} ${name.padEnd(16)} ${seconds.padStart(5)} s`);
      return { name, findings };
    }),
  );
  const failed = results.filter(({ findings }) => findings !== '');
  for (const { name, findings } of failed) console.error(`\n${name}\n${findings}`);
  return failed.length === 0 ? 0 : 1;
});

function tool(
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

function list(find: () => Promise<readonly string[]>): Check {
  return async () => (await find()).join('\n');
}
