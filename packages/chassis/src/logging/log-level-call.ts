import type { RequestListener } from 'node:http';
import { z } from 'zod';
import { type AuditLog, failedOutcome } from '../audit/audit-log.ts';
import { createSignedCall, type SignedMethod } from '../auth/signed-call.ts';
import { Failure } from '../failure.ts';
import { fieldErrors } from '../http/field-errors.ts';
import { correlationIdPattern } from '../request-context.ts';
import { createLogLevels, type LogLevels, settableLevels } from './log-levels.ts';
import type { Logger } from './logger.ts';

/** Path of the log level on the management port. */
export const logLevelPath = '/log-level';

/** Default time in seconds after which the configured level returns. */
const defaultSeconds = 900;

/** Maximum time in seconds. */
export const maxSeconds = 14_400;

const seconds = z
  .string()
  .regex(/^\d{1,5}$/)
  .transform(Number)
  .refine((value) => value >= 1 && value <= maxSeconds);

/** Query of a PUT. */
const change = z
  .strictObject({
    level: z.enum(settableLevels, { error: `must be one of ${settableLevels.join(', ')}` }),
    seconds: z
      .string()
      .optional()
      .pipe(
        z.union([z.undefined().transform(() => defaultSeconds), seconds], {
          error: `must be a whole number from 1 to ${maxSeconds}`,
        }),
      ),
    correlation_id: z
      .string()
      .regex(correlationIdPattern, 'must be 1 to 64 letters, digits, dots, underscores or hyphens')
      .optional(),
  })
  .refine(({ level, correlation_id }) => correlation_id === undefined || level === 'debug', {
    path: ['level'],
    error: 'must be debug if correlation_id is set',
  });

/** Log level of a process as JSON. */
export const logLevelResponse = z.object({
  configured: z.string().describe('Level by LOG_LEVEL.'),
  level: z.string().describe('Current level.'),
  until: z.iso.datetime().optional().describe('Time at which the configured level returns.'),
  sampled: z
    .object({ id: z.string(), until: z.iso.datetime() })
    .optional()
    .describe('Correlation id or trace id whose lines from level `debug` are written, until this time.'),
});

type LogLevelResponse = z.input<typeof logLevelResponse>;

export interface LogLevelCallOptions {
  readonly levels: LogLevels;
  /** Accepted secrets. */
  readonly secrets: readonly string[];
  readonly logger: Logger;
  readonly audit: AuditLog;
}

/**
 * Creates the signed call that reads (GET), changes (PUT) and restores (DELETE) the log level of this process. A change ends by itself after
 * `seconds`, 900 by default. With `correlation_id`, it applies to the lines of one request only.
 */
export function createLogLevelCall({ levels, secrets, logger, audit }: LogLevelCallOptions): RequestListener {
  function read(): LogLevelResponse {
    const { configured, level, until, sampled } = levels.state();
    return {
      configured,
      level,
      until: until?.toISOString(),
      sampled: sampled && { id: sampled.id, until: sampled.until.toISOString() },
    };
  }

  function reject(method: SignedMethod, failure: Failure): Failure {
    const action = method === 'PUT' ? 'log-level.set' : 'log-level.reset';
    const actor = failure.code === 'unauthenticated' ? ({ type: 'anonymous' } as const) : operator;
    if (method !== 'GET') audit.write({ action, ...failedOutcome(failure), actor });
    return failure;
  }

  return createSignedCall({
    secrets,
    logger,
    onRejected: (method) => void reject(method, new Failure('unauthenticated')),
    handlers: {
      GET: async () => read(),
      async PUT(query) {
        const parsed = change.safeParse(Object.fromEntries(query));
        if (!parsed.success) {
          const errors = parsed.error.issues.flatMap(fieldErrors);
          throw reject('PUT', new Failure('invalid-request', { errors }));
        }
        const { level, seconds: time, correlation_id: sampledId } = parsed.data;
        if (sampledId === undefined) levels.set(level, time * 1000);
        else levels.sample(sampledId, time * 1000);
        audit.write({
          action: 'log-level.set',
          outcome: 'succeeded',
          actor: operator,
          newLevel: level,
          seconds: time,
          sampledId,
        });
        return read();
      },
      async DELETE() {
        levels.reset();
        audit.write({ action: 'log-level.reset', outcome: 'succeeded', actor: operator });
        return read();
      },
    },
  });
}

const operator = { type: 'operator' } as const;

export interface LogLevelCallsOptions extends Pick<LogLevelCallOptions, 'logger' | 'audit'> {
  readonly config: { readonly MANAGEMENT_SECRET?: string | undefined };
}

/** Returns the signed call for the management port of a service; none without MANAGEMENT_SECRET, because any client could call it then. */
export function logLevelCalls({
  config: { MANAGEMENT_SECRET: secret },
  logger,
  audit,
}: LogLevelCallsOptions): [path: string, listener: RequestListener][] {
  if (secret === undefined) return [];
  const levels = createLogLevels(logger);
  return [[logLevelPath, createLogLevelCall({ levels, secrets: [secret], logger, audit })]];
}
