import { constants, setPriority } from 'node:os';
import { runHostileClients } from './hostile-clients.ts';
import { serveParent } from './worker-process.ts';

// Hostile clients have machines of their own. Here they get the CPU time that the measured processes leave.
setPriority(constants.priority.PRIORITY_LOW);
serveParent(runHostileClients);
