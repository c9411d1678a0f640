import { readdir, readFile } from 'node:fs/promises';

/** Resource usage of a process and its descendants. */
export interface Usage {
  /** User and system CPU time since the start of the processes, in microseconds. */
  readonly cpuMicroseconds: number;
  /** Resident memory in bytes. Shared memory is counted for each process. */
  readonly residentBytes: number;
}

/** Clock ticks per second of times in /proc (USER_HZ): 100 on every architecture that Node.js supports. */
const ticksPerSecond = 100;

interface ProcessNumbers {
  readonly pid: number;
  readonly parent: number;
  readonly cpuMicroseconds: number;
}

/** Returns the usage of a process; undefined on systems without /proc and for unknown processes. */
export async function readUsage(pid: number): Promise<Usage | undefined> {
  const processes = await readProcesses();
  const tree = processes.filter((process) => process.pid === pid);
  // The list grows while it is iterated, until no process has further children.
  for (const { pid: parent } of tree) tree.push(...processes.filter((process) => process.parent === parent));
  if (tree.length === 0) return undefined;
  const resident = await Promise.all(tree.map((process) => readResidentBytes(process.pid)));
  return {
    cpuMicroseconds: tree.reduce((sum, process) => sum + process.cpuMicroseconds, 0),
    residentBytes: resident.reduce((sum, bytes) => sum + bytes, 0),
  };
}

async function readProcesses(): Promise<ProcessNumbers[]> {
  const entries = await readdir('/proc').catch(() => []);
  const pids = entries.filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')));
  return stats.filter((stat) => stat !== '').map(parseStat);
}

/** Parses the fields of proc_pid_stat(5). The name is in parentheses and may contain spaces and parentheses. */
function parseStat(stat: string): ProcessNumbers {
  const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [, parent] = afterName;
  // User and system time of the process, and of its children that have ended.
  const ticks = afterName.slice(11, 15).reduce((sum, text) => sum + Number(text), 0);
  return {
    pid: Number.parseInt(stat, 10),
    parent: Number(parent),
    cpuMicroseconds: (ticks * 1_000_000) / ticksPerSecond,
  };
}

async function readResidentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
