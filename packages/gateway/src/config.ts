import { commonVariables, upstreamUrl, upstreamVariables } from '@zerda/chassis/config/common-variables';
import { z } from 'zod';

/** The gateway's environment variables. */
export const gatewayVariables = z.object({
  ...commonVariables({ port: 8000, managementPort: 9090 }),
  USER_SERVICE_URL: upstreamUrl('user-service', 'http://127.0.0.1:8001'),
  ORDER_SERVICE_URL: upstreamUrl('order-service', 'http://127.0.0.1:8002'),
  ...upstreamVariables(),
});

export type GatewayConfig = z.output<typeof gatewayVariables>;
