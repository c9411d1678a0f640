import { z } from 'zod';

/** Schema of a rate limit in the route table. */
export const quotaSchema = z
  .strictObject({
    requests: z.int().min(1).max(1_000_000_000).describe('Largest number of requests in the window.'),
    per_seconds: z.int().min(1).max(86_400).describe('Length of the window in seconds.'),
  })
  .describe('Requests per time window; further requests get 429.');

/** A rate limit of the route table. */
export type QuotaSettings = z.output<typeof quotaSchema>;
