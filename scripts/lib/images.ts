import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { type ServiceName, services } from './services.ts';

/** Tool that builds images. */
export type Builder = 'docker' | 'buildah';

/** A command with its arguments. */
export type Command = readonly [file: string, ...args: string[]];

/** Returns the image name of a service, without registry and tag. */
function imageName(service: ServiceName): string {
  return `zerda/${service}`;
}

export interface BuildOptions {
  /** Stage of the Dockerfile; `runtime` by default. */
  readonly target?: 'runtime' | 'dev';
  /** File to which the builder writes the image id. */
  readonly idFile: string;
  /** Version in the labels of the image. */
  readonly version: string;
  /** Base images that replace those of the Dockerfile. */
  readonly baseImages?: { readonly node?: string | undefined; readonly runtime?: string | undefined };
  /** Build secrets: paths of the user's npm configuration and of npm's CA certificates. */
  readonly secrets?: { readonly npmrc?: string | undefined; readonly authorities?: string | undefined };
}

/** Returns the command that builds the image of a service. */
export function buildCommand(builder: Builder, service: ServiceName, options: BuildOptions): Command {
  const { target = 'runtime', idFile, version, baseImages = {}, secrets = {} } = options;
  const repeatOption = (
    flag: string,
    values: Readonly<Record<string, string | undefined>>,
    write: Writer,
  ): string[] => Object.entries(values).flatMap(([name, value]) => (value ? [flag, write(name, value)] : []));
  return [
    builder,
    'build',
    // Docker caches layers by default.
    ...(builder === 'buildah' ? ['--layers'] : []),
    ...['--target', target, '--iidfile', idFile, '--tag', `${imageName(service)}:local`],
    ...repeatOption(
      '--build-arg',
      { SERVICE: service, VERSION: version, NODE_IMAGE: baseImages.node, RUNTIME_IMAGE: baseImages.runtime },
      (name, value) => `${name}=${value}`,
    ),
    ...repeatOption('--secret', { ...secrets }, (name, value) => `id=${name},src=${value}`),
    '.',
  ];
}

type Writer = (name: string, value: string) => string;

/** Returns a tag derived from the image id, so that Kubernetes replaces only pods whose image has changed. */
export function tagOf(imageId: string): string {
  return `local-${imageId
    .trim()
    .replace(/^sha256:/, '')
    .slice(0, 12)}`;
}

export interface DeliveryOptions {
  readonly builder: Builder;
  /** Current context of kubectl. */
  readonly context: string;
  /** Registry that this machine and the cluster can reach; takes precedence over the context. */
  readonly registry: string | undefined;
  /** Folder for temporary archives. */
  readonly folder: string;
}

/** The image name in the cluster, and the commands that deliver the image. */
export interface Delivery {
  /** Name without a tag. */
  readonly repository: string;
  readonly commands: readonly Command[];
}

/**
 * Plans the delivery of an image to the cluster: with a registry, or with the image loader of kind or minikube.
 * @throws StartupError (78) when there is no registry and the context is neither kind nor minikube
 */
export function planDelivery(service: ServiceName, tag: string, options: DeliveryOptions): Delivery {
  const { builder, context, registry, folder } = options;
  const local = `${imageName(service)}:local`;
  const image = `${imageName(service)}:${tag}`;
  if (registry !== undefined) {
    const { repository, commands } = planPush(service, tag, { builder, registry });
    return { repository, commands };
  }
  const [, cluster] = /^kind-(.+)$/.exec(context) ?? [];
  const minikube = context === 'minikube';
  if (cluster === undefined && !minikube) {
    if (builder === 'docker' && sharedDaemons.has(context))
      return { repository: imageName(service), commands: [['docker', 'tag', local, image]] };
    throw new StartupError(
      `The context "${context}" is neither kind nor minikube. Set REGISTRY to a registry that its nodes can pull from.`,
      78,
    );
  }
  const repository = imageName(service);
  if (builder === 'docker') {
    const load: Command = minikube
      ? ['minikube', 'image', 'load', image]
      : ['kind', 'load', 'docker-image', '--name', cluster ?? '', image];
    return { repository, commands: [['docker', 'tag', local, image], load] };
  }
  const archive = `${folder}/${service}.tar`;
  const load: Command = minikube
    ? ['minikube', 'image', 'load', archive]
    : ['kind', 'load', 'image-archive', '--name', cluster ?? '', archive];
  return {
    repository,
    commands: [['buildah', 'push', '--quiet', local, `docker-archive:${archive}:docker.io/${image}`], load],
  };
}

/** The push of an image to a registry. */
export interface Push extends Delivery {
  /** Full name with the tag. */
  readonly image: string;
}

/** Plans the push of an image to a registry. The repository matches `global.imageRegistry` of the chart. */
export function planPush(
  service: ServiceName,
  tag: string,
  { builder, registry }: { readonly builder: Builder; readonly registry: string },
): Push {
  const repository = `${registry.replace(/\/+$/, '')}/${imageName(service)}`;
  const image = `${repository}:${tag}`;
  return { repository, image, commands: pushCommands(builder, `${imageName(service)}:local`, image) };
}

/** Contexts whose nodes use the images of the local Docker daemon. */
const sharedDaemons = new Set(['docker-desktop', 'rancher-desktop', 'orbstack']);

function pushCommands(builder: Builder, local: string, image: string): Command[] {
  if (builder === 'docker') {
    return [
      ['docker', 'tag', local, image],
      ['docker', 'push', '--quiet', image],
    ];
  }
  // Docker also accesses a local registry without TLS.
  const tlsOptions = isLoopbackRegistry(image) ? ['--tls-verify=false'] : [];
  return [['buildah', 'push', '--quiet', ...tlsOptions, local, `docker://${image}`]];
}

/** Returns whether the registry of an image is on this machine, where it needs no TLS. */
export function isLoopbackRegistry(image: string): boolean {
  return /^(localhost|127\.0\.0\.1|\[::1\])[:/]/.test(image);
}

/** Returns the Helm options that set the images of all services. */
export function imageValues(images: ReadonlyMap<ServiceName, { repository: string; tag: string }>): string[] {
  return services.flatMap(({ name }) => {
    const image = images.get(name);
    if (image === undefined) return [];
    const { repository, tag } = image;
    return ['--set-string', `${name}.image.repository=${repository},${name}.image.tag=${tag}`];
  });
}
