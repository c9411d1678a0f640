import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { runInForeground } from './lib/child-process.ts';
import { requireCommands } from './lib/cluster.ts';
import { runCommand } from './lib/command.ts';
import { applyChangesets } from './lib/package-versions.ts';

/**
 * `npm run release:version`: raises the versions of services and packages as the files of `.changeset/` say, writes the changelogs, and
 * generates the files that name versions. It needs Helm.
 */
await runCommand(async () => {
  await requireCommands(process.env.HELM || 'helm');
  await applyChangesets();
  // In a new process, because this one has read the old versions.
  const code = await runInForeground([process.execPath, '--import', 'tsx', 'scripts/generate.ts']);
  if (code !== 0) throw new StartupError('The versions are raised, but npm run generate failed.');
  return 0;
});
