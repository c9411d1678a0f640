import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables, databaseVariables } from '@zerda/chassis/config/common-variables';
import type { ServiceProcess } from '@zerda/chassis/lifecycle/open-process';
import { eventVariables } from '@zerda/events/event-variables';
import { z } from 'zod';
import { identityVariables } from './identity/identity-variables.ts';

/** Environment variables of user-service. */
export const variables = z.object({
  ...commonVariables({ port: 8001, managementPort: 9091 }),
  ...databaseVariables(),
  ...eventVariables(),
  ...authVariables(),
  ...identityVariables(),
});

/** The process of user-service: its configuration, logger, metrics and lifecycle. */
export type UserServiceProcess = ServiceProcess<Readonly<z.output<typeof variables>>>;
