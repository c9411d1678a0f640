import { runSteadyLoad } from './steady-load.ts';
import { serveParent } from './worker-process.ts';

serveParent(runSteadyLoad);
