import { readdir, readFile } from 'node:fs/promises';

/** What a process and its descendants have used. */
export interface Usage {
  /** Microseconds of CPU, in user and system mode, since they began. */
  readonly cpuMicroseconds: number;
  /** Bytes of memory in RAM. What processes share is counted for each of them. */
  readonly residentBytes: number;
}

/** Unit of times in /proc: USER_HZ, which Linux shows as 100 on every architecture that Node has. */
const ticksPerSecond = 100;

interface ProcessNumbers {
  readonly pid: number;
  readonly parent: number;
  readonly cpuMicroseconds: number;
}

/** Undefined on systems without /proc, and when there is no such process. */
export async function readUsage(pid: number): Promise<Usage | undefined> {
  const processes = await readProcesses();
  const tree = processes.filter((one) => one.pid === pid);
  // Grows while it is walked, until nobody's child is left.
  for (const { pid: parent } of tree) tree.push(...processes.filter((one) => one.parent === parent));
  if (tree.length === 0) return undefined;
  const resident = await Promise.all(tree.map((one) => readResidentBytes(one.pid)));
  return {
    cpuMicroseconds: tree.reduce((sum, one) => sum + one.cpuMicroseconds, 0),
    residentBytes: resident.reduce((sum, bytes) => sum + bytes, 0),
  };
}

async function readProcesses(): Promise<ProcessNumbers[]> {
  const entries = await readdir('/proc').catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')));
  return stats.filter((stat) => stat !== '').map(parseStat);
}

/** Fields of proc_pid_stat(5): the name, in brackets, may itself hold blanks and brackets. */
function parseStat(stat: string): ProcessNumbers {
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [, parent] = afterName;
  const [userTicks, systemTicks] = afterName.slice(11, 13);
  return {
    pid: Number.parseInt(stat, 10),
    parent: Number(parent),
    cpuMicroseconds: ((Number(userTicks) + Number(systemTicks)) * 1_000_000) / ticksPerSecond,
  };
}

async function readResidentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
