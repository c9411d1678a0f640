import { kubectl } from './kubectl.ts';

/** Opens the debugger of the process with id 1 and evaluates an expression in it. Runs in the container, which has Node 24. */
const program = `
  const [expression] = process.argv.slice(1);
  process.kill(1, 'SIGUSR1');
  let targets;
  for (let attempt = 0; targets === undefined && attempt < 50; attempt += 1) {
    targets = await fetch('http://127.0.0.1:9229/json/list').then((response) => response.json()).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const socket = new WebSocket(targets[0].webSocketDebuggerUrl);
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  let id = 0;
  const send = (method, params) => new Promise((resolve) => {
    const sent = ++id;
    socket.addEventListener('message', ({ data }) => JSON.parse(data).id === sent && resolve());
    socket.send(JSON.stringify({ id: sent, method, params }));
  });
  await send('Runtime.evaluate', { expression });
  await send('HeapProfiler.collectGarbage');
  socket.close();`;

/** Evaluates an expression in the process of a Deployment's first pod, then collects garbage. */
export async function evaluateIn(namespace: string, deployment: string, expression: string): Promise<void> {
  await kubectl([
    ...['exec', '--namespace', namespace, `deployment/${deployment}`, '--'],
    ...['/nodejs/bin/node', '--input-type=module', '--eval', program, '--', expression],
  ]);
}
