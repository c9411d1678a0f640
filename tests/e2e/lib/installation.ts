/** What `npm run e2e` has installed, and how it is reached: handed to the tests as JSON in E2E_INSTALLATION. */
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
  readonly ingressHost: string;
  readonly routeHost: string;
  /** Options of Helm that name the images that were installed, and the same ones by another tag. */
  readonly images: readonly string[];
  readonly nextImages: readonly string[];
  readonly faults: {
    /** Requests a second, from all clients together. */
    readonly perSecond: number;
    /** Host and port of the ingress controller where the clients run. */
    readonly ingress: string;
    /** Writes the table of faults into docs/kubernetes.md. */
    readonly record: boolean;
  };
}

/** @throws Error when the tests were not started by `npm run e2e` */
export function readInstallation(): Installation {
  const text = process.env.E2E_INSTALLATION;
  if (text === undefined) throw new Error('these tests are run by npm run e2e');
  return JSON.parse(text) as Installation;
}
