import { type AuditEntry, type AuditLog, failedOutcome } from '@zerda/chassis/audit/audit-log';
import type { Database } from '@zerda/chassis/database/database';
import { toFailure } from '@zerda/chassis/http/problem-response';
import { StartupError } from '@zerda/chassis/startup-error';
import type { AuditAction } from '@zerda/contracts/audit';
import { createDeadLetters, type DeadLetter } from './dead-letters.ts';
import type { EventReceiver } from './transport.ts';

/** A command that only one service has. */
export interface ExtraCommand {
  /** Short description for the usage text. */
  readonly summary: string;
  /** Action in the audit log. */
  readonly action: AuditAction;
  /** Runs the command and returns a line about the result. */
  run(): Promise<string>;
}

export interface EventsCommandOptions {
  readonly service: string;
  /** Arguments after `events`. */
  readonly args: readonly string[];
  readonly database: Database;
  readonly audit: AuditLog;
  /** Processes received events; undefined for a service without subscriptions. */
  readonly receiver?: EventReceiver | undefined;
  readonly extra?: Readonly<Record<string, ExtraCommand>>;
  /** Writes one line of output. */
  readonly print: (line: string) => void;
}

/** Results of a replay that did not process the event. */
const failedReplays: ReadonlySet<unknown> = new Set(['failed again', 'ignored']);

/** Maximum number of dead letters for `list` and `replay all`. */
const maxLetters = 1000;

/**
 * Runs `events dead-letters list | show <id> | replay <id>|all | discard <id>` or an extra command of the service. The
 * id is the event id.
 * @throws StartupError with the usage, or if the event has no dead letter
 */
export async function runEventsCommand(options: EventsCommandOptions): Promise<void> {
  const { service, args, database, audit, receiver, extra = {}, print } = options;
  const [topic = '', action = '', id = '', ...rest] = args;
  const letters = createDeadLetters(database, receiver);

  /** Runs an action and writes its audit line, also if it throws: it may have changed something before. */
  async function audited<T>(
    entry: Pick<AuditEntry, 'action' | 'entityId'>,
    run: () => Promise<T>,
  ): Promise<T> {
    try {
      const result = await run();
      audit.write({ ...entry, outcome: failedReplays.has(result) ? 'failed' : 'succeeded' });
      return result;
    } catch (error) {
      audit.write({ ...entry, ...failedOutcome(toFailure(error)) });
      throw error;
    }
  }
  const extraCommand = extra[topic];
  if (extraCommand !== undefined && args.length === 1) {
    const result = await audited({ action: extraCommand.action }, () => extraCommand.run());
    return print(`${service}: ${result}`);
  }
  if (topic !== 'dead-letters' || rest.length > 0) throw usage(options);

  async function findLetters(): Promise<DeadLetter[]> {
    const lettersOfEvent = await letters.find(id);
    if (lettersOfEvent.length === 0) throw new StartupError(`${service} has no dead letter for event ${id}`);
    return lettersOfEvent;
  }

  if (action === 'list' && id === '') {
    const listed = await letters.list(maxLetters);
    for (const letter of listed) print(formatLine(service, letter));
    if (listed.length === 0) print(`${service}: no dead letters`);
  } else if (action === 'show' && id !== '') {
    for (const letter of await findLetters()) print(JSON.stringify(toJson(service, letter), undefined, 2));
  } else if (action === 'replay' && id !== '') {
    const selected = id === 'all' ? (await letters.list(maxLetters)).reverse() : await findLetters();
    for (const letter of selected) {
      const result = await audited({ action: 'dead-letter.replay', entityId: letter.eventId }, () =>
        letters.replay(letter),
      );
      print(`${service}: ${letter.eventId} ${result}`);
    }
    if (selected.length === 0) print(`${service}: no dead letters`);
  } else if (action === 'discard' && id !== '') {
    for (const letter of await findLetters()) {
      await audited({ action: 'dead-letter.discard', entityId: letter.eventId }, () =>
        letters.discard(letter),
      );
      print(`${service}: ${letter.eventId} discarded`);
    }
  } else {
    throw usage(options);
  }
}

function usage({ extra = {} }: EventsCommandOptions): StartupError {
  return new StartupError(
    [
      'usage: events dead-letters list | show <event id> | replay <event id>|all | discard <event id>',
      ...Object.entries(extra).map(([name, { summary }]) => `       events ${name}: ${summary}`),
    ].join('\n'),
    78,
  );
}

function formatLine(
  service: string,
  { eventId, side, type, subject, attempts, failedAt, error }: DeadLetter,
): string {
  return [
    service,
    eventId,
    side,
    type,
    subject,
    `${attempts}x`,
    failedAt.toISOString(),
    error.split('\n', 1)[0],
  ].join('  ');
}

/** Parses the event if it is JSON, so that the output can be processed by other tools. */
function toJson(service: string, { event, failedAt, ...letter }: DeadLetter) {
  let content: unknown = event;
  try {
    content = JSON.parse(event);
  } catch {
    // Not JSON: printed as text.
  }
  return { service, ...letter, failedAt: failedAt.toISOString(), event: content };
}
