/** The parts of a Kubernetes Pod that the scripts and tests read. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly containers: readonly {
      readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
    }[];
  };
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Returns the label selector of the pods of one service of a release, or of all its services, without databases and brokers. */
export function podSelector(release: string, service?: string): string {
  return [
    `app.kubernetes.io/instance=${release}`,
    'app.kubernetes.io/component=service',
    ...(service === undefined ? [] : [`app.kubernetes.io/name=${service}`]),
  ].join(',');
}

/** Returns whether a pod is ready and not being deleted. */
export function isReady({ metadata, status }: Pod): boolean {
  const ready = status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True');
  return ready === true && metadata.deletionTimestamp === undefined;
}
