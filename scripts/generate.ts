import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findBreakingChanges, findDrift, generatedFiles } from './checks/generated.ts';
import { findHelm, renderedFiles } from './lib/chart.ts';
import { runCommand } from './lib/command.ts';
import { root } from './lib/services.ts';

/** `npm run generate`: writes the generated files. With `--check` it only reports which ones are out of date. */
await runCommand(async () => {
  const breaking = await findBreakingChanges();
  for (const line of breaking) console.error(line);
  if (breaking.length > 0) return 1;
  const drift = await findDrift();
  if (process.argv.includes('--check')) {
    for (const line of drift) console.error(line);
    return drift.length === 0 ? 0 : 1;
  }
  const helm = await findHelm();
  // After the schemas: Helm reads them.
  await write(generatedFiles());
  if (helm === undefined)
    console.log('helm is not on the PATH; k8s/ and tests/chart/golden were not updated');
  else await write(await renderedFiles(helm));
  console.log(drift.length === 0 ? 'no changes' : `${drift.length} files written`);
  return 0;
});

async function write(files: Iterable<[path: string, content: string | Buffer]>): Promise<void> {
  for (const [path, content] of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
}
