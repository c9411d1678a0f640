import { startFaultyUpstream, type UpstreamBehavior } from './faulty-upstream.ts';
import { serveParent } from './worker-process.ts';

const upstream = await startFaultyUpstream();
serveParent(async (behavior: UpstreamBehavior) => {
  upstream.setBehavior(behavior);
  return { port: upstream.port, received: upstream.received() };
});
