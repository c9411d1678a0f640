import { answerParent } from './helper.ts';
import { startStaticUpstream } from './static-upstream.ts';

const upstream = await startStaticUpstream();
answerParent(async () => ({ port: upstream.port, received: upstream.received() }));
