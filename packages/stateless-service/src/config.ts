import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables } from '@zerda/chassis/config/common-variables';
import { count, httpUrl } from '@zerda/chassis/config/values';
import type { ServiceProcess } from '@zerda/chassis/lifecycle/open-process';
import { z } from 'zod';

/** Environment variables of stateless-service. */
export const variables = z.object({
  ...commonVariables({ port: 8003, managementPort: 9093 }),
  ...authVariables(),
  USER_SERVICE_URL: httpUrl()
    .default('http://127.0.0.1:8001')
    .describe('Base URL of user-service, which issues the access tokens.'),
  UNIT_PRICE_CENTS: count().default(999).describe('Price in cents that estimates use.'),
});

/** The process of stateless-service: its configuration, logger, metrics and lifecycle. */
export type StatelessServiceProcess = ServiceProcess<Readonly<z.output<typeof variables>>>;
