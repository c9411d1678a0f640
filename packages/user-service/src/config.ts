import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables, databaseVariables } from '@zerda/chassis/config/common-variables';
import { eventVariables } from '@zerda/chassis/config/event-variables';
import { z } from 'zod';
import { identityVariables } from './identity/identity-variables.ts';

/** The user service's environment variables. */
export const userServiceVariables = z.object({
  ...commonVariables({ port: 8001, managementPort: 9091 }),
  ...databaseVariables(),
  ...eventVariables(),
  ...authVariables(),
  ...identityVariables(),
});
