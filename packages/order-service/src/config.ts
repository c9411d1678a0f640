import { authVariables } from '@zerda/chassis/config/auth-variables';
import { commonVariables, databaseVariables } from '@zerda/chassis/config/common-variables';
import { httpUrl } from '@zerda/chassis/config/values';
import type { ServiceProcess } from '@zerda/chassis/lifecycle/open-process';
import { eventVariables } from '@zerda/events/event-variables';
import { upstreamUrl, upstreamVariables } from '@zerda/upstream/upstream-variables';
import { z } from 'zod';

/** Environment variables of order-service. */
export const variables = z.object({
  ...commonVariables({ port: 8002, managementPort: 9092 }),
  ...databaseVariables(),
  ...eventVariables(),
  ...authVariables(),
  USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
  USER_SERVICE_MANAGEMENT_URL: httpUrl()
    .default('http://127.0.0.1:9091')
    .describe(
      'Base URL of the management port of user-service. `events replay-projection` calls it and signs its calls with EVENT_SECRET.',
    ),
  // Half of the gateway's time limit, so that this service can still report which dependency is unavailable.
  ...upstreamVariables({ timeoutMs: 2500 }),
});

/** The process of order-service: its configuration, logger, metrics and lifecycle. */
export type OrderServiceProcess = ServiceProcess<Readonly<z.output<typeof variables>>>;
