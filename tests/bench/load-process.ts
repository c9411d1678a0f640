import { answerParent } from './helper.ts';
import { runLoad } from './load.ts';

answerParent(runLoad);
