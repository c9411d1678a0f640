import { startFaultyUpstream, type Trouble } from './faulty-upstream.ts';
import { answerParent } from './helper.ts';

const upstream = await startFaultyUpstream();
answerParent(async (trouble: Trouble) => {
  upstream.behave(trouble);
  return { port: upstream.port, received: upstream.received() };
});
