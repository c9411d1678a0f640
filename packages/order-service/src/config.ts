import {
  commonVariables,
  databaseVariables,
  upstreamUrl,
  upstreamVariables,
} from '@zerda/chassis/config/common-variables';
import { eventVariables } from '@zerda/chassis/config/event-variables';
import { z } from 'zod';

/** The order service's environment variables. */
export const orderServiceVariables = z.object({
  ...commonVariables({ port: 8002, managementPort: 9092 }),
  ...databaseVariables(),
  ...eventVariables(),
  USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
  // Half of what the gateway gives this service, so that it can still say which of its dependencies is away.
  ...upstreamVariables({ timeoutMs: 2500 }),
});
