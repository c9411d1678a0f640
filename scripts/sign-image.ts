import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { captureOutput } from './lib/child-process.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { currentReleases, type Release } from './lib/package-versions.ts';
import { type Build, signImage } from './lib/signed-image.ts';

/**
 * `npm run sign-image -- <service|chart> <image>@<digest> [--key <file>]`: signs an image and attests its SBOM and provenance. Without a key,
 * cosign signs with the OIDC token of the GitHub job. COSIGN_PASSWORD is the password of the key.
 */
await runCommand(async () => {
  const usage = 'Use npm run sign-image -- <service|chart> <image>@<digest> [--key <file>]';
  const options = { key: { type: 'string' } } as const;
  const { values, positionals } = parseArguments({ options, allowPositionals: true }, usage);
  const [unit, image, ...rest] = positionals;
  if (image === undefined || rest.length > 0) throw new StartupError(usage, 78);
  const release = (await currentReleases()).find((candidate) => candidate.unit === unit);
  if (release === undefined) throw new StartupError(`${unit} is neither a service nor chart. ${usage}`, 78);
  await signImage(image, await describeBuild(release), values.key ? { key: values.key } : undefined);
  console.log(`signed ${image}`);
  return 0;
});

/** Returns source and builder, from the variables of GitHub's runner if there is one. */
async function describeBuild({ unit, version }: Release): Promise<Build> {
  const {
    GITHUB_SERVER_URL: server,
    GITHUB_REPOSITORY: repository,
    GITHUB_WORKFLOW_REF: workflow,
  } = process.env;
  const commit = (await captureOutput(['git', 'rev-parse', 'HEAD'])).trim();
  const known = { unit, version, commit };
  return server && repository && workflow
    ? { ...known, source: `${server}/${repository}`, builder: `${server}/${workflow}` }
    : { ...known, source: 'file:///', builder: 'local' };
}
