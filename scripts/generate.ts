import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findDrift, generatedFiles } from './checks/generated.ts';
import { runCommand } from './lib/command.ts';
import { root } from './lib/services.ts';

/** `npm run generate` writes the files that are made from code; with `--check` it only says which ones have drifted. */
await runCommand(async () => {
  const drift = await findDrift();
  if (process.argv.includes('--check')) {
    for (const line of drift) console.error(line);
    return drift.length === 0 ? 0 : 1;
  }
  for (const [path, content] of generatedFiles()) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
  }
  console.log(drift.length === 0 ? 'nothing has changed' : `${drift.length} files written`);
  return 0;
});
