import { execFileSync } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { runHostileClients } from './hostile-clients.ts';
import { serveParent } from './worker-process.ts';

// Hostile clients have machines of their own. Here they get the CPU time that the measured processes leave: with SCHED_IDLE (sched(7)) these
// do not wait for the end of a time slice either.
try {
  execFileSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(process.pid)]);
} catch {
  setPriority(constants.priority.PRIORITY_LOW);
}
serveParent(runHostileClients);
