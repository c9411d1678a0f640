import type { Images } from '../../../scripts/lib/cluster.ts';
import type { ObservabilityImages } from './observability.ts';

/** The installation of `npm run e2e`, which the tests receive as JSON in E2E_INSTALLATION. */
export interface Installation {
  readonly namespace: string;
  /** Namespace that may read the metrics. */
  readonly monitoring: string;
  readonly release: string;
  /** Host and port of the ingress controller. */
  readonly ingress: string;
  /** Gateway of the Gateway API, as `namespace/name`. */
  readonly gateway: string | undefined;
  readonly prometheusImage: string;
  readonly alertmanagerImage: string;
  /** Images of k8s/observability; undefined if the cluster cannot pull them. */
  readonly observability: ObservabilityImages | undefined;
  readonly ingressHost: string;
  readonly routeHost: string;
  /** Helm options that set the installed images, and the same images with another tag. */
  readonly images: readonly string[];
  readonly nextImages: readonly string[];
  /** Helm options that set the images of the previous release; undefined if they were not built. */
  readonly previousImages: readonly string[] | undefined;
  readonly faults: {
    /** Requests a second of all clients together. */
    readonly perSecond: number;
    /** Host and port of the ingress controller, as seen by the clients. */
    readonly ingress: string;
    /** Whether to write the table of faults to docs/kubernetes.md. */
    readonly record: boolean;
  };
}

/** Returns the images that Helm options set, by service; the inverse of `imageValues`. */
export function imagesIn(options: readonly string[]): Images {
  return new Map(
    options.flatMap((option) => {
      const [, service, repository, tag] =
        /^([\w-]+)\.image\.repository=([^,]+),.*\.tag=(.+)$/.exec(option) ?? [];
      return service === undefined || repository === undefined || tag === undefined
        ? []
        : [[service, { repository, tag }]];
    }),
  );
}

/** Reads E2E_INSTALLATION. @throws Error when the tests were not started by `npm run e2e` */
export function readInstallation(): Installation {
  const text = process.env.E2E_INSTALLATION;
  if (text === undefined) throw new Error('E2E_INSTALLATION is not set. Run these tests with npm run e2e.');
  return JSON.parse(text) as Installation;
}
