import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { captureOutput } from '../../../scripts/lib/child-process.ts';
import { buildAndDeliver, type Images } from '../../../scripts/lib/cluster.ts';
import { createCheckouts, findLastRelease } from '../../../scripts/lib/releases.ts';
import { type ServiceName, services } from '../../../scripts/lib/services.ts';

/** Suffix of the tags. Without it, an unchanged service would have the tag of its current image, and an upgrade would replace no pod. */
const suffix = '-previous';

/**
 * Builds the last release of each service from git and delivers the images to the cluster. `zerda/<service>:local` then refers to these
 * images. A service that the revision does not contain has no image.
 * @param revision git revision of services without a release; default: the last commit that is at least a day older than the current one
 */
export async function deliverPreviousImages(
  env: NodeJS.ProcessEnv,
  revision: string | undefined,
): Promise<Images> {
  const folder = await mkdtemp(join(tmpdir(), 'zerda-previous-'));
  try {
    const checkouts = createCheckouts(folder);
    const unreleased = revision ?? (await findOlderCommit());
    const images = new Map<ServiceName, { repository: string; tag: string }>();
    for (const { name } of services) {
      const tag = (await findLastRelease(name))?.tag ?? unreleased;
      const sources = await checkouts.open({ tag });
      if (!existsSync(join(sources, 'packages', name))) continue;
      console.log(`previous release of ${name}: ${tag}`);
      const built = await buildAndDeliver(env, { names: [name], sources, otherTags: [suffix] });
      const image = built.get(name);
      if (image !== undefined) images.set(name, { ...image, tag: `${image.tag}${suffix}` });
    }
    return images;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Milliseconds by which a commit is older that stands for the previous release. */
const dayMs = 24 * 60 * 60 * 1000;

/** Returns the last commit that is at least a day older than the current one; the current one if the history is shorter. */
async function findOlderCommit(): Promise<string> {
  const git = async (...args: readonly string[]): Promise<string> =>
    (await captureOutput(['git', ...args])).trim();
  const current = new Date(await git('show', '--no-patch', '--format=%cI', 'HEAD')).getTime();
  const before = new Date(current - dayMs).toISOString();
  return (await git('rev-list', '--max-count=1', `--before=${before}`, 'HEAD')) || 'HEAD';
}
