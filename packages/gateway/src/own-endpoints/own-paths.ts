/** Path of the health endpoint for all services. */
export const healthPath = '/api/health';

/** Path patterns of the gateway's own endpoints, which exist with any table. */
export const ownPaths: readonly string[] = [
  healthPath,
  '/docs',
  '/docs/style.css',
  '/openapi.json',
  '/problems',
  '/problems/{code}',
];
