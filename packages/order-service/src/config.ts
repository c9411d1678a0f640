import { authVariables } from '@zerda/chassis/config/auth-variables';
import {
  commonVariables,
  databaseVariables,
  upstreamUrl,
  upstreamVariables,
} from '@zerda/chassis/config/common-variables';
import { eventVariables } from '@zerda/chassis/config/event-variables';
import { httpUrl } from '@zerda/chassis/config/values';
import { z } from 'zod';

/** The order service's environment variables. */
export const orderServiceVariables = z.object({
  ...commonVariables({ port: 8002, managementPort: 9092 }),
  ...databaseVariables(),
  ...eventVariables(),
  ...authVariables(),
  USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
  USER_SERVICE_MANAGEMENT_URL: httpUrl()
    .default('http://127.0.0.1:9091')
    .describe(
      'Base URL of the management port of user-service, for `events replay-projection`, whose calls are signed with EVENT_SECRET.',
    ),
  // Half of what the gateway gives this service, so that it can still say which of its dependencies is away.
  ...upstreamVariables({ timeoutMs: 2500 }),
});
