import { type AuditAction, type AuditOutcome, auditEntityOf } from '@zerda/contracts/audit';
import type { ProblemCode } from '@zerda/contracts/problems';
import type { Failure } from '../failure.ts';
import type { Logger } from '../logging/logger.ts';
import { currentContext } from '../request-context.ts';
import type { Actor, AuditDetails } from './audit-details.ts';

export interface AuditEntry extends AuditDetails {
  readonly action: AuditAction;
  readonly outcome: AuditOutcome;
  /** Why the action did not succeed. */
  readonly reason?: ProblemCode | undefined;
}

/** Writes the audit stream: one line for each attempt to change state. */
export interface AuditLog {
  write(entry: AuditEntry): void;
}

/**
 * Creates the audit log of a process. Its lines go to the destination of the logger and have the field `stream`. LOG_LEVEL does not apply
 * to them.
 * @param processActor actor of actions outside of requests and events
 */
export function createAuditLog(logger: Logger, processActor: Actor): AuditLog {
  // The fields of these lines are fixed below and need no redaction.
  const stream = logger.child({ stream: 'audit' }, { redact: [] });
  // Set here: a level in the options would still follow the level of the logger if both were equal.
  stream.level = 'info';
  return {
    write({
      action,
      outcome,
      reason,
      entityId,
      changed,
      newRole,
      newStatus,
      newLevel,
      seconds,
      sampledId,
      ...entry
    }) {
      const details = currentContext()?.audit;
      const actor = entry.actor ?? details?.actor ?? processActor;
      stream.info(
        {
          action,
          outcome,
          reason,
          actor_type: actor.type,
          actor: actor.id,
          entity_type: auditEntityOf(action),
          entity_id: entityId === undefined ? undefined : String(entityId),
          event_id: entry.eventId ?? details?.eventId,
          changed,
          new_role: newRole,
          new_status: newStatus,
          new_level: newLevel,
          seconds,
          sampled_id: sampledId,
        },
        'audit',
      );
    },
  };
}

/** Adds details to the audit line of the current request. Later details replace earlier ones. */
export function addAuditDetails(details: AuditDetails): void {
  const context = currentContext();
  if (context !== undefined) context.audit = { ...context.audit, ...details };
}

/** Returns the outcome and reason of an action that failed. */
export function failedOutcome({ code }: Pick<Failure, 'code'>): Pick<AuditEntry, 'outcome' | 'reason'> {
  return { outcome: outcomes[code] ?? 'failed', reason: code };
}

const outcomes: Partial<Record<ProblemCode, AuditOutcome>> = {
  unauthenticated: 'denied',
  forbidden: 'denied',
  'login-throttled': 'throttled',
  'rate-limited': 'throttled',
};
