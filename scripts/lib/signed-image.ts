import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { captureOutput } from './child-process.ts';
import { requireCommands } from './cluster.ts';
import type { DeliveryUnit } from './delivery-units.ts';
import type { Deployment } from './deployments.ts';
import { isLoopbackRegistry } from './images.ts';
import { createSbom, type PackageManifest, type Sbom } from './sbom.ts';

/** Key or identity of the signer. */
export type Signer =
  /** Path of a private key (to sign) or of its public key (to verify). Signatures with a key are in no transparency log. */
  | { readonly key: string }
  /** URL of the workflow that signs without a key. Its certificate comes from the OIDC token of the job. */
  | { readonly identity: string };

/** Source and build of an image, or of the packaged chart. */
export interface Build {
  /** Name of the service, or `chart`. */
  readonly unit: DeliveryUnit;
  readonly version: string;
  /** URL of the repository. */
  readonly source: string;
  /** Git commit. */
  readonly commit: string;
  /** URL of the workflow, or name of the machine. */
  readonly builder: string;
}

/** Options of commands that verify images. */
export const signerOptions = { key: { type: 'string' }, identity: { type: 'string' } } as const;

/** Returns the signer from its options; undefined unless there is exactly one. */
export function signerOf({ key, identity }: SignerOptions): Signer | undefined {
  if (key !== undefined) return identity === undefined ? { key } : undefined;
  return identity === undefined ? undefined : { identity };
}

interface SignerOptions {
  readonly key?: string | undefined;
  readonly identity?: string | undefined;
}

/** What the attestations of an image state. */
export interface VerifiedImage {
  /** Name of the service, or `chart`. */
  readonly unit: DeliveryUnit;
  readonly version: string;
  /** Number of npm packages in the image; undefined for the chart. */
  readonly packages: number | undefined;
  readonly source: string;
  readonly commit: string;
}

/** Issuer of the OIDC tokens of GitHub's runners. */
const issuer = 'https://token.actions.githubusercontent.com';

/** Name of the packaged chart in a registry. */
const chartName = 'zerda';

/** Folder of the image with the manifests of the packages in its bundle. */
const packagesFolder = 'app/node_modules';

/** A SLSA 1 predicate. */
interface Provenance {
  readonly buildDefinition: {
    readonly buildType: string;
    readonly externalParameters: { readonly unit: DeliveryUnit; readonly version: string };
    readonly resolvedDependencies: readonly {
      readonly uri: string;
      readonly digest: { readonly gitCommit: string };
    }[];
  };
  readonly runDetails: { readonly builder: { readonly id: string } };
}

/**
 * Signs an image in a registry and attests its SBOM (CycloneDX) and provenance (SLSA 1). The SBOM lists the packages that the image
 * contains, not those of a lock file. The chart, which contains no packages, has no SBOM.
 * @param image name with digest
 * @param signer private key, or undefined to sign with the OIDC token of the job
 * @throws StartupError (78) when cosign or crane is missing, or the image is named by a tag
 */
export async function signImage(
  image: string,
  build: Build,
  signer: { readonly key: string } | undefined,
): Promise<void> {
  requireDigest(image);
  await requireCommands('cosign', 'crane');
  const folder = await mkdtemp(join(tmpdir(), 'zerda-sign-'));
  try {
    const predicates: Record<string, object> = { slsaprovenance1: provenanceOf(build) };
    if (build.unit !== 'chart')
      predicates.cyclonedx = createSbom(build.unit, build.version, await readPackages(image, folder));
    const options = [...(await signingOptions(signer, folder)), ...registryOptions(image)];
    await captureOutput(['cosign', 'sign', '--yes', ...options, image]);
    for (const [type, predicate] of Object.entries(predicates)) {
      const file = join(folder, `${type}.json`);
      await writeFile(file, JSON.stringify(predicate));
      await captureOutput([
        'cosign',
        'attest',
        '--yes',
        '--type',
        type,
        '--predicate',
        file,
        ...options,
        image,
      ]);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Verifies the signature of an image, its SBOM and its provenance, and returns what they state.
 * @param image name with digest
 * @throws StartupError if one is missing, has another signer or belongs to another image or service; with exit code 78 when cosign is
 * missing or the image is named by a tag
 */
export async function verifyImage(image: string, signer: Signer): Promise<VerifiedImage> {
  requireDigest(image);
  await requireCommands('cosign');
  const options = [...verificationOptions(signer), ...registryOptions(image)];
  await cosign(`The signature of ${image}`, ['verify', ...options, image]);
  const attested = async <Predicate>(title: string, type: string): Promise<Predicate> => {
    const output = await cosign(`${title} of ${image}`, [
      'verify-attestation',
      '--type',
      type,
      ...options,
      image,
    ]);
    return readPredicate(output) as Predicate;
  };
  const { buildDefinition } = await attested<Provenance>('The provenance', 'slsaprovenance1');
  const { unit, version } = buildDefinition.externalParameters;
  const [source] = buildDefinition.resolvedDependencies;
  if (source === undefined) throw new StartupError(`The provenance of ${image} names no source.`);
  if (nameOf(image) !== (unit === 'chart' ? chartName : unit))
    throw new StartupError(`${image} is signed as ${unit} ${version}.`);
  const verified = { unit, version, source: source.uri, commit: source.digest.gitCommit };
  if (unit === 'chart') return { ...verified, packages: undefined };
  const { metadata, components } = await attested<Sbom>('The SBOM', 'cyclonedx');
  const { component } = metadata;
  if (component.name !== unit || component.version !== version)
    throw new StartupError(
      `${image} is signed as ${unit} ${version}, with the SBOM of ${component.name} ${component.version}.`,
    );
  return { ...verified, packages: components.length };
}

/**
 * Verifies the images of all services in an environment, each as the version that the environment's file names.
 * @param registry registry of the images, as `global.imageRegistry` of the chart
 * @throws StartupError if an image has no digest, another version, or does not pass `verifyImage`
 */
export async function verifyDeployment(
  deployment: Deployment,
  registry: string,
  signer: Signer,
): Promise<VerifiedImage[]> {
  const images: VerifiedImage[] = [];
  for (const [service, { version, digest }] of deployment) {
    if (digest === undefined)
      throw new StartupError(`${service} ${version} has no digest. Set it with npm run deploy:set.`, 78);
    const image = `${registry.replace(/\/+$/, '')}/zerda/${service}@${digest}`;
    const verified = await verifyImage(image, signer);
    if (verified.version !== version)
      throw new StartupError(`${image} was built as ${verified.version}, not as ${version}.`);
    images.push(verified);
  }
  return images;
}

/** Returns the last part of an image's name. */
function nameOf(image: string): string {
  return image.slice(image.lastIndexOf('/') + 1, image.indexOf('@'));
}

/** Reads the manifests of the packages in an image. */
async function readPackages(image: string, folder: string): Promise<PackageManifest[]> {
  const archive = join(folder, 'image.tar');
  const content = join(folder, 'image');
  await mkdir(content);
  const insecure = isLoopbackRegistry(image) ? ['--insecure'] : [];
  await captureOutput(['crane', 'export', '--platform', 'linux/amd64', ...insecure, image, archive]);
  await captureOutput(['tar', '-xf', archive, '-C', content, packagesFolder]);
  const files = await readdir(join(content, packagesFolder), { recursive: true });
  // Manifests within a package, which have no version, are not packages of their own.
  const manifests = files.filter((file) => /(^|node_modules\/)(@[^/]+\/)?[^/]+\/package\.json$/.test(file));
  return Promise.all(
    manifests.map(async (file) => JSON.parse(await readFile(join(content, packagesFolder, file), 'utf8'))),
  );
}

function provenanceOf({ unit, version, source, commit, builder }: Build): Provenance {
  return {
    buildDefinition: {
      buildType: `${source}/blob/${commit}/Dockerfile`,
      externalParameters: { unit, version },
      resolvedDependencies: [{ uri: source, digest: { gitCommit: commit } }],
    },
    runDetails: { builder: { id: builder } },
  };
}

/** Returns the options of cosign that sign with a key and no transparency log, or without a key and with the public log. */
async function signingOptions(
  signer: { readonly key: string } | undefined,
  folder: string,
): Promise<string[]> {
  if (signer === undefined) return [];
  const config = join(folder, 'signing-config.json');
  await captureOutput(['cosign', 'signing-config', 'create', '--out', config]);
  return ['--key', signer.key, '--signing-config', config];
}

function verificationOptions(signer: Signer): string[] {
  return 'key' in signer
    ? ['--key', signer.key, '--insecure-ignore-tlog']
    : ['--certificate-identity', signer.identity, '--certificate-oidc-issuer', issuer];
}

function registryOptions(image: string): string[] {
  return isLoopbackRegistry(image) ? ['--allow-http-registry'] : [];
}

function requireDigest(image: string): void {
  if (!/@sha256:[0-9a-f]{64}$/.test(image))
    throw new StartupError(
      `Name ${image} by its digest, <image>@sha256:<digest>. A tag can be overwritten.`,
      78,
    );
}

/** Runs a verification of cosign. @throws StartupError with its first error line */
async function cosign(subject: string, args: readonly string[]): Promise<string> {
  return captureOutput(['cosign', ...args]).catch((error: Error) => {
    const [, reason = error.message] = /^Error: (.*)$/m.exec(error.message) ?? [];
    throw new StartupError(`${subject} is not valid: ${reason}`);
  });
}

/** Returns the predicate of the last attestation in the output of cosign, which prints one envelope per line, oldest first. */
function readPredicate(output: string): unknown {
  const envelopes = output.split('\n').filter((line) => line.startsWith('{'));
  const { payload } = JSON.parse(envelopes.at(-1) ?? '{}') as { payload: string };
  return (JSON.parse(Buffer.from(payload, 'base64').toString()) as { predicate: unknown }).predicate;
}
