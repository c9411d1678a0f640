import { spawn } from 'node:child_process';

/** An object of Kubernetes, as the server has it. */
// The tests look into objects whose shape is what they check.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Manifest = any;

/** Runs kubectl; `input` is its standard input. @throws Error with what it said when it fails */
export function kubectl(args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('kubectl', args, {
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    let output = '';
    let complaints = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaints += text;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`kubectl ${args.join(' ')}: ${complaints || output}`));
    });
    child.stdin?.end(input);
  });
}

/** What `kubectl get` finds, as JSON. */
export async function get(namespace: string, ...words: readonly string[]): Promise<Manifest> {
  return JSON.parse(await kubectl(['get', '--namespace', namespace, '--output', 'json', ...words]));
}

export async function apply(...manifests: readonly Manifest[]): Promise<void> {
  await kubectl(
    ['apply', '--filename', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: manifests }),
  );
}

/** Runs a pod to its end and returns what it printed, then removes it. @throws Error with its words when it fails */
export async function runPod(pod: Manifest): Promise<string> {
  const { name, namespace } = pod.metadata;
  const where = ['--namespace', namespace];
  await kubectl(['create', '--filename', '-'], JSON.stringify(pod));
  try {
    await kubectl([
      ...['wait', `pod/${name}`, ...where, '--timeout=60s'],
      // Ended, in whichever way: what it printed says which.
      '--for=jsonpath={.status.containerStatuses[0].state.terminated.reason}',
    ]);
    const { status } = await get(namespace, 'pod', name);
    const output = await kubectl(['logs', name, ...where]);
    if (status.phase === 'Failed') throw new Error(`pod ${name} failed: ${output}`);
    return output;
  } finally {
    await kubectl(['delete', 'pod', name, ...where, '--grace-period=0', '--force', '--ignore-not-found']);
  }
}
