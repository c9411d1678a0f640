import type { Database } from '../database/database.ts';
import { StartupError } from '../startup-error.ts';
import { createDeadLetters, type DeadLetter } from './dead-letters.ts';
import type { EventReceiver } from './transport.ts';

/** A command that one service has beside those that all have. */
export interface ExtraCommand {
  /** What it does, in a few words. */
  readonly summary: string;
  /** Does it, and tells what was done in a line. */
  run(): Promise<string>;
}

export interface EventsCommandOptions {
  readonly service: string;
  /** What follows `events`. */
  readonly words: readonly string[];
  readonly database: Database;
  /** Deals with dead letters that came; undefined for a service that hears nothing. */
  readonly receiver?: EventReceiver | undefined;
  readonly extra?: Readonly<Record<string, ExtraCommand>>;
  /** Takes a line for the caller. */
  readonly print: (line: string) => void;
}

/** Letters that a list shows, and that `replay all` takes in one go. */
const most = 1000;

/**
 * `events dead-letters list | show <id> | replay <id>|all | discard <id>`, and what the service has more; an id is that of the event.
 * @throws StartupError with the usage, or when there is no such letter
 */
export async function runEventsCommand(options: EventsCommandOptions): Promise<void> {
  const { service, words, database, receiver, extra = {}, print } = options;
  const [topic = '', verb = '', id = '', ...rest] = words;
  const letters = createDeadLetters(database, receiver);
  const known = extra[topic];
  if (known !== undefined && words.length === 1) return print(`${service}: ${await known.run()}`);
  if (topic !== 'dead-letters' || rest.length > 0) throw usage(options);

  async function lettersOf(): Promise<DeadLetter[]> {
    const found = await letters.find(id);
    if (found.length === 0) throw new StartupError(`${service} has no dead letter of event ${id}`);
    return found;
  }

  if (verb === 'list' && id === '') {
    const found = await letters.list(most);
    for (const letter of found) print(line(service, letter));
    if (found.length === 0) print(`${service}: no dead letters`);
  } else if (verb === 'show' && id !== '') {
    for (const letter of await lettersOf()) print(JSON.stringify(shown(service, letter), undefined, 2));
  } else if (verb === 'replay' && id !== '') {
    const chosen = id === 'all' ? (await letters.list(most)).reverse() : await lettersOf();
    for (const letter of chosen) print(`${service}: ${letter.eventId} ${await letters.replay(letter)}`);
    if (chosen.length === 0) print(`${service}: no dead letters`);
  } else if (verb === 'discard' && id !== '') {
    for (const letter of await lettersOf()) {
      await letters.discard(letter);
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

function line(
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

/** With the event as JSON where it is some, so that it can be read and piped on. */
function shown(service: string, { event, failedAt, ...letter }: DeadLetter) {
  let content: unknown = event;
  try {
    content = JSON.parse(event);
  } catch {
    // Is shown as the text that came.
  }
  return { service, ...letter, failedAt: failedAt.toISOString(), event: content };
}
