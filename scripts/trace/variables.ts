import { z } from 'zod';
import { httpUrl } from '../../packages/chassis/src/config/values.ts';

/** Environment variables of `npm run trace`. */
export const traceVariables = z.object({
  LOGS_URL: httpUrl()
    .optional()
    .describe(
      'URL of the VictoriaLogs server that has the log lines, such as `http://localhost:9428`. When not set, the lines of `npm start` are searched.',
    ),
  TRACES_URL: httpUrl()
    .optional()
    .describe(
      'URL of the Jaeger query API that has the traces, such as `http://localhost:16686`. When not set, the spans of `npm start` are searched.',
    ),
});
