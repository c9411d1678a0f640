import { StartupError } from '../packages/chassis/src/startup-error.ts';
import { parseArguments, runCommand } from './lib/command.ts';
import { readDeployment } from './lib/deployments.ts';
import { selectServices } from './lib/services.ts';
import { signerOf, signerOptions, verifyDeployment } from './lib/signed-image.ts';

/**
 * `npm run verify-deployment -- <environment> --registry <registry> (--key <file> | --identity <url>)`: verifies the images of all
 * services in `deploy/<environment>.yaml` as `npm run verify-image` does. Each must have a digest and the version in the file.
 */
await runCommand(async () => {
  const usage =
    'Use npm run verify-deployment -- <environment> --registry <registry> (--key <public key> | --identity <workflow>)';
  const options = { ...signerOptions, registry: { type: 'string' } } as const;
  const { values, positionals } = parseArguments({ options, allowPositionals: true }, usage);
  const [environment, ...rest] = positionals;
  const signer = signerOf(values);
  if (environment === undefined || rest.length > 0 || !values.registry || signer === undefined)
    throw new StartupError(usage, 78);
  const deployment = await readDeployment(environment, selectServices([]));
  for (const { unit, version, packages, source, commit } of await verifyDeployment(
    deployment,
    values.registry,
    signer,
  ))
    console.log(`${unit} ${version}: ${packages} npm packages, ${source} at ${commit}`);
  return 0;
});
