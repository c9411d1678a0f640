import { apiDocuments } from './checks/api-documents.ts';
import { findDrift } from './checks/generated.ts';
import { findLanguageProblems } from './checks/language.ts';
import { findBreakingMigrations } from './checks/migrations.ts';
import { type Check, list, sourceChecks, tool } from './checks/source-checks.ts';
import { findStrictResponses } from './checks/strict-responses.ts';
import { findVersionProblems } from './checks/versions.ts';
import { runCommand } from './lib/command.ts';

const checks: Readonly<Record<string, Check>> = {
  ...sourceChecks(apiDocuments()),
  unused: tool('knip', 'knip', ['--no-progress', '--treat-config-hints-as-errors']),
  responses: list(findStrictResponses),
  migrations: list(findBreakingMigrations),
  versions: list(findVersionProblems),
  generated: list(findDrift),
  language: list(findLanguageProblems),
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
