import { get, type Manifest, runPod } from './kubectl.ts';

/** Namespace and labels of a probe pod. */
export interface ProbeOptions {
  readonly namespace: string;
  readonly labels?: Readonly<Record<string, string>>;
}

let count = 0;

/** Returns a pod that runs a Node program in one of our images and meets the PodSecurity level `restricted`. */
export async function nodePod(
  image: string,
  program: string,
  { namespace, labels = {} }: ProbeOptions,
): Promise<Manifest> {
  count += 1;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `probe-${process.pid}-${count}`, namespace, labels },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      // Never ready, because a ready pod with the labels of a service would receive its requests.
      readinessGates: [{ conditionType: 'zerda.dev/never' }],
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: 'probe',
          image,
          args: ['--input-type=module', '--eval', program],
          resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '96Mi' } },
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        },
      ],
    },
  };
}

/** Returns the image of a Deployment's first container. */
export async function imageOf(namespace: string, deployment: string): Promise<string> {
  return (await get(namespace, 'deployment', deployment)).spec.template.spec.containers[0].image;
}

/**
 * Returns the targets (`host:port`) that a pod with these labels can connect to. Network policies take effect shortly after a pod
 * starts, so the pod waits 2 s and then tries for 5 s.
 */
export async function findReachable(
  image: string,
  targets: readonly string[],
  options: ProbeOptions,
): Promise<string[]> {
  const program = `
    import { connect } from 'node:net';
    import { setTimeout as wait } from 'node:timers/promises';
    const attempt = (host, port) => new Promise((resolve) => {
      const socket = connect({ host, port: Number(port), timeout: 1000 });
      const end = (reached) => { socket.destroy(); resolve(reached); };
      socket.once('connect', () => end(true)).once('error', () => end(false)).once('timeout', () => end(false));
    });
    await wait(2000);
    const attempts = ${JSON.stringify(targets)}.map(async (target) => {
      for (const end = Date.now() + 5000; Date.now() < end; await wait(250)) {
        if (await attempt(...target.split(':'))) return [target];
      }
      return [];
    });
    console.log(JSON.stringify((await Promise.all(attempts)).flat()));`;
  return JSON.parse(await runPod(await nodePod(image, program, options)));
}
