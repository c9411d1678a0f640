import { captureOutput } from './lib/child-process.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { currentReleases, findUntagged } from './lib/package-versions.ts';

/**
 * `npm run release:tags -- [--push] [--json]`: prints the tags `<service>@<version>` and `chart@<version>` of versions that are not
 * released yet, one per line or as a JSON array. `--push` creates them at HEAD and pushes them to `origin`.
 */
await runCommand(async () => {
  const options = {
    push: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  } as const;
  const { push, json } = parseArguments({ options }, 'Use npm run release:tags -- [--push] [--json]').values;
  const tags = (await captureOutput(['git', 'tag', '--list'])).split('\n');
  const releases = findUntagged(await currentReleases(), tags);
  if (push && releases.length > 0) {
    for (const { tag } of releases) await captureOutput(['git', 'tag', tag]);
    await captureOutput([
      'git',
      'push',
      '--atomic',
      'origin',
      ...releases.map(({ tag }) => `refs/tags/${tag}`),
    ]);
  }
  if (json) console.log(JSON.stringify(releases));
  else for (const { tag } of releases) console.log(tag);
  return 0;
});
