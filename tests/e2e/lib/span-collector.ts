import { apply, get, kubectl } from './kubectl.ts';
import { nodePod } from './probe.ts';

/** Port for OTLP over HTTP. */
const port = 4318;

export interface SpanCollectorOptions {
  /** Name of the pod and of its Service; also the label `app` of the pod. */
  readonly name: string;
  readonly namespace: string;
  /** Image with Node. */
  readonly image: string;
}

/** A pod that accepts spans in the format `http/json`. */
export interface SpanCollector {
  /** Returns the names of the services whose spans it received. */
  services(): Promise<string[]>;
  /** Returns `address:port` of the pod. */
  address(): Promise<string>;
  /** Deletes the pod. Its Service stays. */
  stop(): Promise<void>;
  /** Creates the pod again. */
  start(): Promise<void>;
}

/** Returns the URL of a collector, which need not exist yet. */
export function spanEndpoint({ name, namespace }: Pick<SpanCollectorOptions, 'name' | 'namespace'>): string {
  return `http://${name}.${namespace}:${port}`;
}

const program = `
  import { createServer } from 'node:http';
  const services = new Set();
  createServer(async (request, response) => {
    if (request.method === 'GET') return response.end(JSON.stringify([...services]));
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    for (const { resource } of JSON.parse(Buffer.concat(chunks)).resourceSpans)
      services.add(resource.attributes.find(({ key }) => key === 'service.name').value.stringValue);
    response.setHeader('content-type', 'application/json').end('{}');
  }).listen(${port});
  process.on('SIGTERM', () => process.exit(0));`;

/** Starts a collector and waits until its pod runs. */
export async function startSpanCollector({
  name,
  namespace,
  image,
}: SpanCollectorOptions): Promise<SpanCollector> {
  const inNamespace = ['--namespace', namespace];
  async function start(): Promise<void> {
    const pod = await nodePod(image, program, { namespace, labels: { app: name } });
    await apply({ ...pod, metadata: { ...pod.metadata, name } });
    await kubectl([
      ...['wait', `pod/${name}`, ...inNamespace, '--timeout=120s'],
      '--for=jsonpath={.status.phase}=Running',
    ]);
  }
  await apply({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace },
    // The pod is never ready, as every pod of the probes.
    spec: { selector: { app: name }, ports: [{ port }], publishNotReadyAddresses: true },
  });
  await start();
  return {
    start,
    async services() {
      const read = `fetch('http://127.0.0.1:${port}').then((response) => response.text()).then(console.log)`;
      return JSON.parse(
        await kubectl(['exec', name, ...inNamespace, '--', '/nodejs/bin/node', '--eval', read]),
      );
    },
    async address() {
      return `${(await get(namespace, 'pod', name)).status.podIP}:${port}`;
    },
    async stop() {
      await kubectl(['delete', 'pod', name, ...inNamespace, '--ignore-not-found', '--timeout=60s']);
    },
  };
}
