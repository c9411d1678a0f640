import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { signerOf, signerOptions, verifyImage } from './lib/signed-image.ts';

/**
 * `npm run verify-image -- <image>@<digest> (--key <file> | --identity <url>) [--release <tag>]`: verifies the signature, the SBOM and
 * the provenance of an image, or of the packaged chart. `--identity` is the URL of the workflow that signed it, with its branch.
 * `--release` also requires that it was built as this release, such as `gateway@1.4.0`.
 */
await runCommand(async () => {
  const usage =
    'Use npm run verify-image -- <image>@<digest> (--key <public key> | --identity <workflow>) [--release <tag>]';
  const options = { ...signerOptions, release: { type: 'string' } } as const;
  const { values, positionals } = parseArguments({ options, allowPositionals: true }, usage);
  const [image, ...rest] = positionals;
  const signer = signerOf(values);
  if (image === undefined || signer === undefined || rest.length > 0) throw new StartupError(usage, 78);
  const { unit, version, packages, source, commit } = await verifyImage(image, signer);
  const release = `${unit}@${version}`;
  if (values.release !== undefined && values.release !== release)
    throw new StartupError(`${image} was built as ${release}, not as ${values.release}.`);
  console.log(`signature   valid\nprovenance  ${release} of ${source} at ${commit}`);
  if (packages !== undefined) console.log(`SBOM        ${packages} npm packages`);
  return 0;
});
