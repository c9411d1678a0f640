import { get, kubectl, runPod } from './kubectl.ts';
import { nodePod } from './probe.ts';

/**
 * Kills the process of a pod's only container with SIGKILL, which ends all its connections at once. Linux ignores SIGKILL for the
 * first process of a container when it comes from within, so a privileged pod sends it from the node. That pod needs a namespace
 * without a PodSecurity level.
 */
export async function killProcess(namespace: string, pod: string): Promise<void> {
  const { spec, status } = await get(namespace, 'pod', pod);
  const [container] = status.containerStatuses;
  const id = container.containerID.split('//').at(-1);
  const program = `
    import { readdir, readFile } from 'node:fs/promises';
    for (const pid of await readdir('/proc')) {
      const groups = await readFile('/proc/' + pid + '/cgroup', 'utf8').catch(() => '');
      if (!groups.includes('${id}')) continue;
      process.kill(Number(pid), 'SIGKILL');
      console.log('killed ' + pid);
    }`;
  const privileged = `${namespace}-privileged`;
  await kubectl(['create', 'namespace', privileged]);
  try {
    const killer = await nodePod(spec.containers[0].image, program, { namespace: privileged });
    Object.assign(killer.spec, { nodeName: spec.nodeName, hostPID: true, securityContext: { runAsUser: 0 } });
    killer.spec.containers[0].securityContext = { privileged: true };
    const output = await runPod(killer);
    if (!output.includes('killed')) throw new Error(`no process of ${pod} (container ${id}) was found`);
  } finally {
    await kubectl(['delete', 'namespace', privileged]);
  }
}
