import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { recordingLogger, silentLogger } from '../testing.ts';
import { type AddressBookOptions, type AddressChange, createAddressBook } from './address-book.ts';
import { until } from './testing-servers.ts';

/** A name server whose answer the test sets. */
function nameServer(...addresses: string[]) {
  const server = {
    addresses,
    error: undefined as Error | undefined,
    asked: [] as string[],
    async lookup(host: string) {
      server.asked.push(host);
      if (server.error !== undefined) throw server.error;
      return server.addresses;
    },
  };
  return server;
}

function failing(code: string): Error {
  return Object.assign(new Error(`getaddrinfo ${code}`), { code });
}

function open(context: TestContext, options: Partial<AddressBookOptions>) {
  const book = createAddressBook({ host: 'orders', logger: silentLogger(), everyMs: 5, ...options });
  context.after(() => book.close());
  const changes: AddressChange[] = [];
  book.onChange((change) => changes.push(change));
  return { book, changes };
}

describe('address book', () => {
  it('asks once for all callers, and only when there is one', async (context) => {
    const names = nameServer('10.0.0.1', '10.0.0.2');
    const { book } = open(context, { lookup: names.lookup, everyMs: 60_000 });
    assert.deepEqual(names.asked, []);
    const answers = await Promise.all(Array.from({ length: 20 }, () => book.ready()));
    for (const answer of answers) assert.deepEqual(answer, ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(names.asked, ['orders']);
  });

  it('asks every two seconds unless it is told otherwise', async (context) => {
    context.mock.timers.enable({ apis: ['setInterval'] });
    const names = nameServer('10.0.0.1');
    const book = createAddressBook({ host: 'orders', logger: silentLogger(), lookup: names.lookup });
    context.after(() => book.close());
    await book.ready();
    context.mock.timers.tick(1999);
    assert.equal(names.asked.length, 1);
    context.mock.timers.tick(1);
    assert.equal(names.asked.length, 2);
  });

  it('asks again and again, one question at a time, and tells what has changed', async (context) => {
    const names = nameServer('10.0.0.1', '10.0.0.2', '10.0.0.1');
    const { book, changes } = open(context, { lookup: names.lookup });
    await book.ready();
    assert.deepEqual(changes, [{ added: ['10.0.0.1', '10.0.0.2'], removed: [] }]);
    // Name servers rotate their answers: another order is no change.
    names.addresses = ['10.0.0.2', '10.0.0.1'];
    const asked = names.asked.length;
    await until(() => names.asked.length > asked + 2);
    assert.equal(changes.length, 1);
    names.addresses = ['10.0.0.3', '10.0.0.1'];
    await until(() => changes.length > 1);
    assert.deepEqual(changes[1], { added: ['10.0.0.3'], removed: ['10.0.0.2'] });
    assert.deepEqual([...book.addresses].sort(), ['10.0.0.1', '10.0.0.3']);
  });

  for (const [name, spoil] of [
    ['fail', (names: ReturnType<typeof nameServer>) => (names.error = failing('EAI_AGAIN'))],
    ['answer nothing', (names: ReturnType<typeof nameServer>) => (names.addresses = [])],
  ] as const) {
    it(`keeps the last good answer while look-ups ${name}, and says so once`, async (context) => {
      const names = nameServer('10.0.0.1');
      const { logger, lines } = recordingLogger();
      const { book, changes } = open(context, { lookup: names.lookup, logger });
      // The first request starts the look-ups; lines of later ones are not its.
      await runInContext({ correlationId: 'abc', deadline: Deadline.after(1000) }, () => book.ready());
      spoil(names);
      await until(() => lines.length > 0);
      const asked = names.asked.length;
      await until(() => names.asked.length > asked + 3);
      assert.deepEqual(await book.ready(), ['10.0.0.1']);
      names.error = undefined;
      names.addresses = ['10.0.0.1'];
      await until(() => lines.length > 1);
      const again = names.asked.length;
      await until(() => names.asked.length > again + 3);
      assert.deepEqual(
        lines.map(({ msg, host, correlation_id }) => ({ msg, host, correlation_id })),
        [
          { msg: 'look-up fails', host: 'orders', correlation_id: undefined },
          { msg: 'look-up answers again', host: 'orders', correlation_id: undefined },
        ],
      );
      assert.equal(changes.length, 1);
    });
  }

  it('rejects with the code of the look-up as long as there has been no answer, then works by itself', async (context) => {
    const names = nameServer('10.0.0.1');
    names.error = failing('ENOTFOUND');
    const { book } = open(context, { lookup: names.lookup });
    await assert.rejects(book.ready(), { code: 'ENOTFOUND' });
    await assert.rejects(book.ready(), { code: 'ENOTFOUND' });
    names.error = undefined;
    await until(() => book.addresses.length > 0);
    assert.deepEqual(await book.ready(), ['10.0.0.1']);
  });

  it('does not ask more often because more callers are turned away', async (context) => {
    const names = nameServer();
    const { book } = open(context, { lookup: names.lookup, everyMs: 60_000 });
    for (let call = 0; call < 5; call += 1) await assert.rejects(book.ready(), { code: 'ENOTFOUND' });
    assert.equal(names.asked.length, 1);
  });

  it('gives a look-up that hangs its time, asks no second one beside it, and takes its answer when it comes', async (context) => {
    let asked = 0;
    let answer: (addresses: string[]) => void = () => undefined;
    const { logger, lines } = recordingLogger();
    const { book } = open(context, {
      logger,
      timeoutMs: 20,
      lookup: () => {
        asked += 1;
        return new Promise((resolve) => {
          answer = resolve;
        });
      },
    });
    await assert.rejects(book.ready(), { code: 'EAI_AGAIN', hostname: 'orders' });
    await assert.rejects(book.ready(), { code: 'EAI_AGAIN' });
    assert.equal(asked, 1);
    answer(['10.0.0.1']);
    await until(() => asked > 1);
    assert.deepEqual(await book.ready(), ['10.0.0.1']);
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      ['look-up fails', 'look-up answers again'],
    );
  });

  it('never makes a caller wait once it has had an answer', async (context) => {
    let asked = 0;
    const { book } = open(context, {
      lookup: () => {
        asked += 1;
        return asked === 1 ? Promise.resolve(['10.0.0.1']) : new Promise(() => undefined);
      },
    });
    await book.ready();
    await until(() => asked === 2);
    assert.deepEqual(await book.ready(), ['10.0.0.1']);
  });

  it('takes an IP address for what it is', async (context) => {
    for (const [host, address] of [
      ['127.0.0.1', '127.0.0.1'],
      ['[::1]', '::1'],
    ] as const) {
      const names = nameServer('10.0.0.1');
      const { book } = open(context, { host, lookup: names.lookup });
      assert.deepEqual(book.addresses, [address]);
      assert.deepEqual(await book.ready(), [address]);
      assert.deepEqual(names.asked, []);
    }
  });

  it('asks the system, hosts file included', async (context) => {
    const { book } = open(context, { host: 'localhost' });
    assert.ok((await book.ready()).some((address) => address === '127.0.0.1' || address === '::1'));
    const { book: unknown } = open(context, { host: 'nowhere.invalid' });
    await assert.rejects(unknown.ready(), ({ code }: NodeJS.ErrnoException) =>
      ['ENOTFOUND', 'EAI_AGAIN'].includes(code ?? ''),
    );
  });

  it('asks and tells nothing after its close', async (context) => {
    const names = nameServer('10.0.0.1');
    let answer: (() => void) | undefined;
    const { book, changes } = open(context, {
      lookup: async (host) => {
        const addresses = await names.lookup(host);
        if (names.asked.length > 1) await new Promise<void>((resolve) => (answer = resolve));
        return addresses;
      },
    });
    await book.ready();
    names.addresses = ['10.0.0.2'];
    await until(() => answer !== undefined);
    book.close();
    answer?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(names.asked.length, 2);
    assert.equal(changes.length, 1);
    assert.deepEqual(await book.ready(), ['10.0.0.1']);
    const { book: unused } = open(context, { lookup: names.lookup });
    unused.close();
    await assert.rejects(unused.ready(), { code: 'ENOTFOUND' });
  });
});
