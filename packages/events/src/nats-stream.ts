import type { ConsumerConfig, JetStreamManager, StreamConfig } from '@nats-io/jetstream';

const nanosecondsPerMs = 1_000_000;
/** Retention of the stream in days, for consumed events as well. */
const retentionDays = 7;
/** Window in milliseconds within which the server drops an event with a known id. */
const duplicateWindowMs = 5 * 60_000;

/** `err_code` of error responses. */
const notFound = { consumer: 10014, stream: 10059 };

export interface StreamOptions {
  readonly name: string;
  /** First word of the subjects in the stream. */
  readonly prefix: string;
  /** Number of replicas in a cluster. */
  readonly replicas: number;
}

/** Creates the stream if it is missing. An existing stream is not changed, because an operator may have tuned it. */
export async function requireStream(
  { streams }: JetStreamManager,
  { name, prefix, replicas }: StreamOptions,
): Promise<void> {
  const existing = await streams.info(name).catch(undefinedWhen(notFound.stream));
  if (existing !== undefined) return;
  const config: Partial<StreamConfig> & { name: string } = {
    name,
    subjects: [`${prefix}.>`],
    max_age: retentionDays * 86_400_000 * nanosecondsPerMs,
    duplicate_window: duplicateWindowMs * nanosecondsPerMs,
    num_replicas: replicas,
  };
  await streams.add(config);
}

export interface ConsumerOptions {
  readonly stream: string;
  /** Name of the durable consumer that the replicas of a service share. */
  readonly name: string;
  readonly filter: string;
  /** Redelivery delay of unacknowledged events, in milliseconds. */
  readonly ackWaitMs: number;
}

/**
 * Creates the durable consumer if it is missing. If its filter differs, recreates it after the last event up to which
 * all were acknowledged: nats-server 2.9 accepts a changed filter and then delivers nothing.
 */
export async function requireConsumer(
  { consumers }: JetStreamManager,
  { stream, name, filter, ackWaitMs }: ConsumerOptions,
): Promise<void> {
  const existing = await consumers.info(stream, name).catch(undefinedWhen(notFound.consumer));
  if (existing?.config.filter_subject === filter) return;
  if (existing !== undefined) await consumers.delete(stream, name);
  const config: Partial<ConsumerConfig> = {
    durable_name: name,
    // A literal, because the enum is a value of a package that is loaded on demand.
    ack_policy: 'explicit',
    filter_subject: filter,
    ack_wait: ackWaitMs * nanosecondsPerMs,
    // Crashes and pauses of a receiver count as deliveries. The inbox counts the failures itself.
    max_deliver: -1,
    max_ack_pending: 1000,
    ...(existing === undefined
      ? { deliver_policy: 'all' }
      : { deliver_policy: 'by_start_sequence', opt_start_seq: existing.ack_floor.stream_seq + 1 }),
  };
  await consumers.add(stream, config);
}

/** Returns the longest common prefix of all types, because a consumer of nats-server 2.9 has one filter. */
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
