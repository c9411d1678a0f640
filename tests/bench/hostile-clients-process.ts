import { answerParent } from './helper.ts';
import { runHostileClients } from './hostile-clients.ts';

answerParent(runHostileClients);
