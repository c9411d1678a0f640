import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, it } from 'node:test';
import { eventually } from '@zerda/chassis/testing/wait';
import {
  type EventReceiver,
  type EventTransport,
  MalformedEventError,
  type OutgoingEvent,
  type Receipt,
  SendError,
} from '../src/transport.ts';

/** Creates the two sides of a transport. */
export interface TransportFixture {
  /** Creates a sending transport. */
  sender(): Promise<EventTransport>;
  /** Creates a receiving transport. All of them share one consumer name. */
  receiver(): Promise<EventTransport>;
  /** Simulates a crash of the broker or the receiver. */
  disconnect(): Promise<void>;
  /** Restarts it with its previous state. */
  reconnect(): Promise<void>;
  /** Removes all resources. */
  close(): Promise<void>;
}

const applied: Receipt = { outcome: 'applied', retryInMs: 0 };

/** Returns a receiver that records received texts and returns the results of `response`. */
export function scriptedReceiver(
  response: (text: string, times: number) => Receipt | Promise<Receipt> = () => applied,
) {
  const received: string[] = [];
  const deadLettered: string[] = [];
  const receiver: EventReceiver = {
    types: ['zerda.thing.made.v1', 'zerda.thing.broken.v1'],
    async receive(text) {
      if (!text.startsWith('{')) throw new MalformedEventError('not JSON');
      received.push(text);
      return response(text, received.filter((other) => other === text).length);
    },
    async deadLetter(text) {
      deadLettered.push(text);
    },
  };
  return { receiver, received, deadLettered };
}

/** Returns an event about a thing. */
export function testEvent(subject = `things/${randomUUID()}`, version = 1): OutgoingEvent {
  const type = 'zerda.thing.made.v1';
  const id = randomUUID();
  const event = {
    specversion: '1.0',
    id,
    source: '/things',
    type,
    subject,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    sequence: String(version).padStart(10, '0'),
    data: { id: 1, text: 'ü'.repeat(3) },
  };
  return { id, type, subject, text: JSON.stringify(event) };
}

/** Sends an event with retries, like a relay, until it is accepted or rejected. */
export async function sendWithRetries(
  transport: Pick<EventTransport, 'send'>,
  event: OutgoingEvent,
): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  for (;;) {
    try {
      return await transport.send(event);
    } catch (error) {
      if (!(error instanceof SendError) || error.kind === 'rejected' || performance.now() > giveUpAt)
        throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Defines the tests that every transport must pass. Call it inside a suite. */
export function testTransport(openFixture: () => Promise<TransportFixture>): void {
  let fixture: TransportFixture;
  let sender: EventTransport;
  let receivers: EventTransport[] = [];

  before(async () => {
    fixture = await openFixture();
    sender = await fixture.sender();
  });
  afterEach(async () => {
    for (const end of receivers) await end.close();
    receivers = [];
  });
  after(async () => {
    await sender.close();
    await fixture.close();
  });

  async function receive(...script: Parameters<typeof scriptedReceiver>) {
    const scripted = scriptedReceiver(...script);
    const end = await fixture.receiver();
    receivers.push(end);
    end.subscribe(scripted.receiver);
    return scripted;
  }

  it('delivers the text unchanged', async () => {
    const { received } = await receive();
    const event = testEvent();
    await sendWithRetries(sender, event);
    await eventually(() => received.length === 1);
    assert.deepEqual(received, [event.text]);
  });

  it('delivers events that were sent before the receiver subscribed', async () => {
    const event = testEvent();
    const sending = sendWithRetries(sender, event);
    const { received } = await receive();
    await sending;
    await eventually(() => received.includes(event.text));
  });

  for (const outcome of ['failed', 'unavailable'] as const) {
    it(`redelivers an event with the outcome ${outcome}`, async () => {
      const event = testEvent();
      const { received } = await receive((text, times) =>
        text === event.text && times < 3 ? { outcome, retryInMs: 10 } : applied,
      );
      await sendWithRetries(sender, event);
      await eventually(() => received.length >= 3);
      await sendWithRetries(sender, testEvent(event.subject, 2));
      await eventually(() => received.length >= 4);
      assert.equal(received.filter((text) => text === event.text).length, 3);
    });
  }

  it('redelivers an event if the receiver throws', async () => {
    let thrown = false;
    const { received } = await receive(() => {
      if (thrown) return applied;
      thrown = true;
      throw new Error('receiver failed');
    });
    const event = testEvent();
    await sendWithRetries(sender, event);
    await eventually(() => received.length === 2);
    assert.deepEqual(received, [event.text, event.text]);
  });

  for (const outcome of ['dead-lettered', 'ignored', 'duplicate', 'stale'] as const) {
    it(`does not redeliver an event with the outcome ${outcome}`, async () => {
      const { received } = await receive(() => ({ outcome, retryInMs: 0 }));
      const event = testEvent();
      await sendWithRetries(sender, event);
      const next = testEvent(event.subject, 2);
      await sendWithRetries(sender, next);
      await eventually(() => received.includes(next.text));
      assert.deepEqual(received, [event.text, next.text]);
    });
  }

  it('rejects or dead-letters a text that is not an event', async () => {
    const { received, deadLettered } = await receive();
    const garbage = { ...testEvent(), text: 'no event' };
    const rejected = await sendWithRetries(sender, garbage).then(
      () => false,
      (error: unknown) => error instanceof SendError && error.kind === 'rejected',
    );
    if (!rejected) await eventually(() => deadLettered.length > 0);
    const next = testEvent();
    await sendWithRetries(sender, next);
    await eventually(() => received.includes(next.text));
    assert.deepEqual([deadLettered.length, received], [rejected ? 0 : 1, [next.text]]);
  });

  it('rejects an event that exceeds the size limit', async () => {
    await receive();
    const event = testEvent();
    const long = { ...event, text: event.text.replace('üüü', 'x'.repeat(2_000_000)) };
    await assert.rejects(
      sendWithRetries(sender, long),
      (error) => error instanceof SendError && error.kind === 'rejected',
    );
  });

  it('delivers events of one subject in order', async () => {
    const { received } = await receive(async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
      return applied;
    });
    const events = Array.from({ length: 50 }, (_, n) => testEvent('things/ordered', n + 1));
    for (const event of events) await sendWithRetries(sender, event);
    await eventually(() => received.length >= events.length);
    assert.deepEqual(
      received,
      events.map(({ text }) => text),
    );
  });

  it('delivers 500 concurrent events', async () => {
    const { received } = await receive();
    const events = Array.from({ length: 500 }, () => testEvent());
    await Promise.all(events.map((event) => sendWithRetries(sender, event)));
    await eventually(() => new Set(received).size === events.length);
  });

  it('waits for events in flight on close and continues with another replica', async () => {
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { received } = await receive(async () => {
      await released;
      return applied;
    });
    const event = testEvent();
    const sending = sendWithRetries(sender, event);
    await eventually(() => received.length === 1);
    const closing = receivers[0]?.close();
    release();
    await closing;
    await sending;
    receivers = [];
    const second = await receive();
    const next = testEvent();
    await sendWithRetries(sender, next);
    await eventually(() => second.received.includes(next.text));
    assert.deepEqual(second.received, [next.text]);
  });

  it('fails with unavailable while the other side is down and resumes after its restart', async () => {
    const { received } = await receive();
    await sendWithRetries(sender, testEvent());
    await fixture.disconnect();
    const event = testEvent();
    await eventually(async () => {
      const kind = await sender.send(event).then(
        () => 'sent',
        (error: unknown) => (error instanceof SendError ? error.kind : 'other error'),
      );
      return kind === 'unavailable';
    });
    await fixture.reconnect();
    await sendWithRetries(sender, event);
    await eventually(() => received.includes(event.text));
  });
}
