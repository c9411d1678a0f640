import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables, databaseVariables } from '@zerda/chassis/config/common-variables';
import { httpUrl } from '@zerda/chassis/config/values';
import type { ServiceProcess } from '@zerda/chassis/lifecycle/open-process';
import { eventVariables } from '@zerda/events/event-variables';
import { z } from 'zod';

/** Environment variables of sample-service. */
export const variables = z.object({
  ...commonVariables({ port: 8003, managementPort: 9093 }),
  ...databaseVariables(),
  ...eventVariables(),
  ...authVariables(),
  USER_SERVICE_URL: httpUrl()
    .default('http://127.0.0.1:8001')
    .describe('Base URL of user-service, which issues the access tokens.'),
});

/** The process of sample-service: its configuration, logger, metrics and lifecycle. */
export type SampleServiceProcess = ServiceProcess<Readonly<z.output<typeof variables>>>;
