import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { type ServiceName, services } from './services.ts';

/** What makes images here. */
export type Builder = 'docker' | 'buildah';

/** A command with its arguments. */
export type Command = readonly [file: string, ...args: string[]];

/** Image of a service, without registry and tag. */
function imageName(service: ServiceName): string {
  return `zerda/${service}`;
}

export interface BuildOptions {
  /** Stage of the Dockerfile; `runtime` by default. */
  readonly target?: 'runtime' | 'dev';
  /** File that gets the id of the image. */
  readonly idFile: string;
  /** Images to build on, instead of those of the Dockerfile. */
  readonly baseImages?: { readonly node?: string | undefined; readonly runtime?: string | undefined };
  /** npm's configuration of this user, and the authorities it trusts: files that the build reads and does not keep. */
  readonly secrets?: { readonly npmrc?: string | undefined; readonly authorities?: string | undefined };
}

/** How the image of one service is built. */
export function buildCommand(builder: Builder, service: ServiceName, options: BuildOptions): Command {
  const { target = 'runtime', idFile, baseImages = {}, secrets = {} } = options;
  const given = (
    flag: string,
    values: Readonly<Record<string, string | undefined>>,
    write: Writer,
  ): string[] => Object.entries(values).flatMap(([name, value]) => (value ? [flag, write(name, value)] : []));
  return [
    builder,
    'build',
    // Docker keeps layers by itself.
    ...(builder === 'buildah' ? ['--layers'] : []),
    ...['--target', target, '--iidfile', idFile, '--tag', `${imageName(service)}:local`],
    ...given(
      '--build-arg',
      { SERVICE: service, NODE_IMAGE: baseImages.node, RUNTIME_IMAGE: baseImages.runtime },
      (name, value) => `${name}=${value}`,
    ),
    ...given('--secret', { ...secrets }, (name, value) => `id=${name},src=${value}`),
    '.',
  ];
}

type Writer = (name: string, value: string) => string;

/** A tag that changes with the image, so that exactly those pods are replaced whose image has changed. */
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
  /** Registry that both this machine and the cluster reach; wins over what the context says. */
  readonly registry: string | undefined;
  /** Folder for archives on their way. */
  readonly folder: string;
}

/** Image that the cluster takes, and how it gets there. */
export interface Delivery {
  /** Name without a tag. */
  readonly repository: string;
  readonly commands: readonly Command[];
}

/**
 * How an image comes from this machine into the cluster: by a registry, or by the loader of kind or minikube.
 * @throws StartupError when the context is of neither and there is no registry
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
      `The context "${context}" is neither kind nor minikube: set REGISTRY to a registry that it pulls from.`,
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

/** An image as it is pushed to a registry. */
export interface Push extends Delivery {
  /** Whole name, with the tag. */
  readonly image: string;
}

/** How an image gets from this machine into a registry, with the repository that `global.imageRegistry` of the chart leads to. */
export function planPush(
  service: ServiceName,
  tag: string,
  { builder, registry }: { readonly builder: Builder; readonly registry: string },
): Push {
  const repository = `${registry.replace(/\/+$/, '')}/${imageName(service)}`;
  const image = `${repository}:${tag}`;
  return { repository, image, commands: pushCommands(builder, `${imageName(service)}:local`, image) };
}

/** Contexts whose nodes run what the Docker of this machine has. */
const sharedDaemons = new Set(['docker-desktop', 'rancher-desktop', 'orbstack']);

function pushCommands(builder: Builder, local: string, image: string): Command[] {
  if (builder === 'docker') {
    return [
      ['docker', 'tag', local, image],
      ['docker', 'push', '--quiet', image],
    ];
  }
  // Docker takes a registry on this machine without TLS as well.
  const plain = /^(localhost|127\.0\.0\.1|\[::1\])[:/]/.test(image) ? ['--tls-verify=false'] : [];
  return [['buildah', 'push', '--quiet', ...plain, local, `docker://${image}`]];
}

/** Options of Helm that name the images of all services. */
export function imageValues(images: ReadonlyMap<ServiceName, { repository: string; tag: string }>): string[] {
  return services.flatMap(({ name }) => {
    const image = images.get(name);
    if (image === undefined) return [];
    const { repository, tag } = image;
    return ['--set-string', `${name}.image.repository=${repository},${name}.image.tag=${tag}`];
  });
}
