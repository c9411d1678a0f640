import { answerParent } from './helper.ts';
import { runSteadyLoad } from './steady-load.ts';

answerParent(runSteadyLoad);
