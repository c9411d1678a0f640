import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, it } from 'node:test';
import {
  type EventReceiver,
  type EventTransport,
  MalformedEventError,
  type OutgoingEvent,
  type Receipt,
  SendError,
} from './transport.ts';

/** Two ends of one way. */
export interface Way {
  /** Makes an end that sends. */
  sender(): Promise<EventTransport>;
  /** Makes an end that receives, under one name for all of them. */
  receiver(): Promise<EventTransport>;
  /** Takes away what lies between or behind, as a crash does. */
  breakOff(): Promise<void>;
  /** Brings it back as it was. */
  mend(): Promise<void>;
  /** Removes everything. */
  close(): Promise<void>;
}

const taken: Receipt = { outcome: 'applied', retryInMs: 0 };

/** A receiver that does what a test says, and writes down what comes. */
export function scriptedReceiver(
  answer: (text: string, times: number) => Receipt | Promise<Receipt> = () => taken,
) {
  const came: string[] = [];
  const buried: string[] = [];
  const receiver: EventReceiver = {
    types: ['zerda.thing.made.v1', 'zerda.thing.broken.v1'],
    async receive(text) {
      if (!text.startsWith('{')) throw new MalformedEventError('not JSON');
      came.push(text);
      return answer(text, came.filter((one) => one === text).length);
    },
    async bury(text) {
      buried.push(text);
    },
  };
  return { receiver, came, buried };
}

/** An event about a thing. */
export function anEvent(subject = `things/${randomUUID()}`, version = 1): OutgoingEvent {
  const type = 'zerda.thing.made.v1';
  const id = randomUUID();
  const event = {
    specversion: '1.0',
    ...{ id, source: '/things', type, subject },
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    sequence: String(version).padStart(10, '0'),
    data: { id: 1, text: 'ü'.repeat(3) },
  };
  return { id, type, subject, text: JSON.stringify(event) };
}

/** Waits for a condition, at most thirty seconds. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'it'): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`${what} did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Sends as a relay does: again and again, until the event is taken or refused. */
export async function sendUntilTaken(
  transport: Pick<EventTransport, 'send'>,
  event: OutgoingEvent,
): Promise<void> {
  const giveUpAt = performance.now() + 30_000;
  for (;;) {
    try {
      return await transport.send(event);
    } catch (error) {
      if (!(error instanceof SendError) || error.kind === 'refused' || performance.now() > giveUpAt)
        throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** What every transport has to do; called inside of a suite. */
export function itMovesEvents(openWay: () => Promise<Way>): void {
  let way: Way;
  let sender: EventTransport;
  let ends: EventTransport[] = [];

  before(async () => {
    way = await openWay();
    sender = await way.sender();
  });
  afterEach(async () => {
    for (const end of ends) await end.close();
    ends = [];
  });
  after(async () => {
    await sender.close();
    await way.close();
  });

  async function receive(...script: Parameters<typeof scriptedReceiver>) {
    const scripted = scriptedReceiver(...script);
    const end = await way.receiver();
    ends.push(end);
    end.subscribe(scripted.receiver);
    return scripted;
  }

  it('hands over the text as it is', async () => {
    const { came } = await receive();
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await until(() => came.length === 1);
    assert.deepEqual(came, [event.text]);
  });

  it('keeps what is sent before anybody listens', async () => {
    const event = anEvent();
    const sending = sendUntilTaken(sender, event);
    const { came } = await receive();
    await sending;
    await until(() => came.includes(event.text));
  });

  for (const outcome of ['failed', 'unavailable'] as const) {
    it(`brings an event again that its receiver says is ${outcome}`, async () => {
      const event = anEvent();
      const { came } = await receive((text, times) =>
        text === event.text && times < 3 ? { outcome, retryInMs: 10 } : taken,
      );
      await sendUntilTaken(sender, event);
      await until(() => came.length >= 3);
      await sendUntilTaken(sender, anEvent(event.subject, 2));
      await until(() => came.length >= 4);
      assert.equal(came.filter((text) => text === event.text).length, 3);
    });
  }

  it('brings an event again whose receiver throws', async () => {
    let thrown = false;
    const { came } = await receive(() => {
      if (thrown) return taken;
      thrown = true;
      throw new Error('a fault of the receiver');
    });
    const event = anEvent();
    await sendUntilTaken(sender, event);
    await until(() => came.length === 2);
    assert.deepEqual(came, [event.text, event.text]);
  });

  for (const outcome of ['dead-lettered', 'ignored', 'duplicate', 'stale'] as const) {
    it(`does not bring an event again that was ${outcome}`, async () => {
      const { came } = await receive(() => ({ outcome, retryInMs: 0 }));
      const event = anEvent();
      await sendUntilTaken(sender, event);
      const next = anEvent(event.subject, 2);
      await sendUntilTaken(sender, next);
      await until(() => came.includes(next.text));
      assert.deepEqual(came, [event.text, next.text]);
    });
  }

  it('does not bring again what is no event, and it does not get lost', async () => {
    const { came, buried } = await receive();
    const garbage = { ...anEvent(), text: 'no event' };
    const refused = await sendUntilTaken(sender, garbage).then(
      () => false,
      (error: unknown) => error instanceof SendError && error.kind === 'refused',
    );
    if (!refused) await until(() => buried.length > 0);
    const next = anEvent();
    await sendUntilTaken(sender, next);
    await until(() => came.includes(next.text));
    assert.deepEqual([buried.length, came], [refused ? 0 : 1, [next.text]]);
  });

  it('refuses at once what is too long to go', async () => {
    await receive();
    const event = anEvent();
    const long = { ...event, text: event.text.replace('üüü', 'x'.repeat(2_000_000)) };
    await assert.rejects(
      sendUntilTaken(sender, long),
      (error) => error instanceof SendError && error.kind === 'refused',
    );
  });

  it('keeps the order of one subject', async () => {
    const { came } = await receive(async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
      return taken;
    });
    const events = Array.from({ length: 50 }, (_, n) => anEvent('things/ordered', n + 1));
    for (const event of events) await sendUntilTaken(sender, event);
    await until(() => came.length >= events.length);
    assert.deepEqual(
      came,
      events.map(({ text }) => text),
    );
  });

  it('moves many events at once', async () => {
    const { came } = await receive();
    const events = Array.from({ length: 500 }, () => anEvent());
    await Promise.all(events.map((event) => sendUntilTaken(sender, event)));
    await until(() => new Set(came).size === events.length);
  });

  it('shares events among the replicas of a receiver, and an end that closes waits for what it has in hand', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { came } = await receive(async () => {
      await held;
      return taken;
    });
    const event = anEvent();
    const sending = sendUntilTaken(sender, event);
    await until(() => came.length === 1);
    const closing = ends[0]?.close();
    release();
    await closing;
    await sending;
    ends = [];
    const second = await receive();
    const next = anEvent();
    await sendUntilTaken(sender, next);
    await until(() => second.came.includes(next.text));
    assert.deepEqual(second.came, [next.text]);
  });

  it('says that it cannot send while the other side is away, and goes on by itself when it is back', async () => {
    const { came } = await receive();
    await sendUntilTaken(sender, anEvent());
    await way.breakOff();
    const event = anEvent();
    await until(async () => {
      const kind = await sender.send(event).then(
        () => 'sent',
        (error: unknown) => (error instanceof SendError ? error.kind : 'another error'),
      );
      return kind === 'unavailable';
    });
    await way.mend();
    await sendUntilTaken(sender, event);
    await until(() => came.includes(event.text));
  });
}
