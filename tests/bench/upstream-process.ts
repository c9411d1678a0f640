import { startStaticUpstream } from './static-upstream.ts';
import { serveParent } from './worker-process.ts';

const upstream = await startStaticUpstream();
serveParent(async () => ({ port: upstream.port, received: upstream.received() }));
