import { runLoad } from './load.ts';
import { serveParent } from './worker-process.ts';

serveParent(runLoad);
