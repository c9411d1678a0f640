import type { ConsumerConfig, JetStreamManager, StreamConfig } from '@nats-io/jetstream';

const nanoseconds = 1_000_000;
/** Days that the stream keeps an event, whether or not it was heard. */
const keptForDays = 7;
/** Milliseconds within which the server drops a second event with the id of the first. */
const duplicateWindowMs = 5 * 60_000;

/** `err_code` of the server's answers. */
const notFound = { consumer: 10014, stream: 10059 };

export interface StreamOptions {
  readonly name: string;
  /** First word of the subjects it keeps. */
  readonly prefix: string;
  /** Copies that a cluster keeps. */
  readonly replicas: number;
}

/** Makes the stream when it is missing; one that exists stays as it is, for somebody may have tuned it. */
export async function requireStream(
  { streams }: JetStreamManager,
  { name, prefix, replicas }: StreamOptions,
): Promise<void> {
  const found = await streams.info(name).catch(undefinedWhen(notFound.stream));
  if (found !== undefined) return;
  const config: Partial<StreamConfig> & { name: string } = {
    name,
    subjects: [`${prefix}.>`],
    max_age: keptForDays * 86_400_000 * nanoseconds,
    duplicate_window: duplicateWindowMs * nanoseconds,
    num_replicas: replicas,
  };
  await streams.add(config);
}

export interface ConsumerOptions {
  readonly stream: string;
  /** Name of the durable consumer; the replicas of a service share it. */
  readonly name: string;
  readonly filter: string;
  /** Milliseconds after which an event that was not acknowledged comes again. */
  readonly ackWaitMs: number;
}

/**
 * Makes the durable consumer when it is missing. One that was made for other types is made anew, and goes on after the last event
 * that the old one has seen all up to: nats-server 2.9 takes another filter, and then hands out nothing.
 */
export async function requireConsumer(
  { consumers }: JetStreamManager,
  { stream, name, filter, ackWaitMs }: ConsumerOptions,
): Promise<void> {
  const found = await consumers.info(stream, name).catch(undefinedWhen(notFound.consumer));
  if (found?.config.filter_subject === filter) return;
  if (found !== undefined) await consumers.delete(stream, name);
  const config: Partial<ConsumerConfig> = {
    durable_name: name,
    // Spelt out, for the enums are values of a package that is loaded only when it is needed.
    ack_policy: 'explicit',
    filter_subject: filter,
    ack_wait: ackWaitMs * nanoseconds,
    // Kills and pauses of a receiver count as deliveries; failures are counted in its own table.
    max_deliver: -1,
    max_ack_pending: 1000,
    ...(found === undefined
      ? { deliver_policy: 'all' }
      : { deliver_policy: 'by_start_sequence', opt_start_seq: found.ack_floor.stream_seq + 1 }),
  };
  await consumers.add(stream, config);
}

/** The longest beginning that all types have in common: a consumer of nats-server 2.9 has one filter. */
export function filterOf(types: readonly string[], prefix: string): string {
  const [first, ...others] = types.map((type) => type.split('.'));
  if (first === undefined) return `${prefix}.>`;
  if (others.length === 0) return first.join('.');
  const differs = first.findIndex((word, index) => others.some((words) => words[index] !== word));
  return [...first.slice(0, differs), '>'].join('.');
}

function undefinedWhen(code: number) {
  return (error: unknown): undefined => {
    if ((error as { code?: unknown }).code !== code) throw error;
  };
}
