import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Deadline } from '@zerda/chassis/deadline';
import { runInContext } from '@zerda/chassis/request-context';
import { recordingLogger, silentLogger } from '@zerda/chassis/testing/observed';
import { eventually } from '@zerda/chassis/testing/wait';
import {
  type AddressChange,
  type AddressResolverOptions,
  createAddressResolver,
} from './address-resolver.ts';

/** Creates a fake name server whose response the test sets. */
function nameServer(...addresses: string[]) {
  const server = {
    addresses,
    error: undefined as Error | undefined,
    queries: [] as string[],
    async lookup(host: string) {
      server.queries.push(host);
      if (server.error !== undefined) throw server.error;
      return server.addresses;
    },
  };
  return server;
}

function lookupError(code: string): Error {
  return Object.assign(new Error(`getaddrinfo ${code}`), { code });
}

function createTestResolver(context: TestContext, options: Partial<AddressResolverOptions>) {
  const resolver = createAddressResolver({
    host: 'orders',
    logger: silentLogger(),
    intervalMs: 5,
    ...options,
  });
  context.after(() => resolver.close());
  const changes: AddressChange[] = [];
  resolver.onChange((change) => changes.push(change));
  return { resolver, changes };
}

/** Creates a resolver with the default intervals, and stops the timers. */
function setUpMockedTimers(context: TestContext, dns: ReturnType<typeof nameServer>) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const resolver = createAddressResolver({ host: 'orders', logger: silentLogger(), lookup: dns.lookup });
  context.after(() => resolver.close());
  return {
    ready: () => resolver.ready(),
    /** Returns the number of lookups in the next `ms` milliseconds, and lets the last one end. */
    async lookupsAfter(ms: number): Promise<number> {
      const before = dns.queries.length;
      context.mock.timers.tick(ms);
      await setImmediate();
      return dns.queries.length - before;
    },
  };
}

describe('address resolver', () => {
  it('looks up once for all callers, and only after the first call', async (context) => {
    const dns = nameServer('10.0.0.1', '10.0.0.2');
    const { resolver } = createTestResolver(context, { lookup: dns.lookup, intervalMs: 60_000 });
    assert.deepEqual(dns.queries, []);
    const responses = await Promise.all(Array.from({ length: 20 }, () => resolver.ready()));
    for (const response of responses) assert.deepEqual(response, ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(dns.queries, ['orders']);
  });

  it('looks up every two seconds by default', async (context) => {
    const dns = nameServer('10.0.0.1');
    const { ready, lookupsAfter } = setUpMockedTimers(context, dns);
    await ready();
    assert.deepEqual([await lookupsAfter(1999), await lookupsAfter(1), await lookupsAfter(2000)], [0, 1, 1]);
  });

  it('looks up every half second while lookups fail', async (context) => {
    const dns = nameServer();
    const { ready, lookupsAfter } = setUpMockedTimers(context, dns);
    await assert.rejects(ready());
    assert.deepEqual([await lookupsAfter(499), await lookupsAfter(1)], [0, 1]);
    dns.addresses = ['10.0.0.1'];
    assert.deepEqual([await lookupsAfter(500), await lookupsAfter(1999), await lookupsAfter(1)], [1, 0, 1]);
  });

  it('looks up periodically and reports changes', async (context) => {
    const dns = nameServer('10.0.0.1', '10.0.0.2', '10.0.0.1');
    const { resolver, changes } = createTestResolver(context, { lookup: dns.lookup });
    await resolver.ready();
    assert.deepEqual(changes, [{ added: ['10.0.0.1', '10.0.0.2'], removed: [] }]);
    // Name servers rotate addresses: another order is not a change.
    dns.addresses = ['10.0.0.2', '10.0.0.1'];
    const lookups = dns.queries.length;
    await eventually(() => dns.queries.length > lookups + 2);
    assert.equal(changes.length, 1);
    dns.addresses = ['10.0.0.3', '10.0.0.1'];
    await eventually(() => changes.length > 1);
    assert.deepEqual(changes[1], { added: ['10.0.0.3'], removed: ['10.0.0.2'] });
    assert.deepEqual([...resolver.addresses].sort(), ['10.0.0.1', '10.0.0.3']);
  });

  for (const [name, breakDns] of [
    ['fail', (dns: ReturnType<typeof nameServer>) => (dns.error = lookupError('EAI_AGAIN'))],
    ['return nothing', (dns: ReturnType<typeof nameServer>) => (dns.addresses = [])],
  ] as const) {
    it(`keeps the last addresses while lookups ${name}, and logs it once`, async (context) => {
      const dns = nameServer('10.0.0.1');
      const { logger, lines } = recordingLogger();
      const { resolver, changes } = createTestResolver(context, { lookup: dns.lookup, logger });
      // The first request starts the lookups. Lines of later lookups must not have its correlation id.
      await runInContext({ correlationId: 'abc', deadline: Deadline.after(1000) }, () => resolver.ready());
      breakDns(dns);
      await eventually(() => lines.length > 0);
      const lookups = dns.queries.length;
      await eventually(() => dns.queries.length > lookups + 3);
      assert.deepEqual(await resolver.ready(), ['10.0.0.1']);
      dns.error = undefined;
      dns.addresses = ['10.0.0.1'];
      await eventually(() => lines.length > 1);
      const lookupsLater = dns.queries.length;
      await eventually(() => dns.queries.length > lookupsLater + 3);
      assert.deepEqual(
        lines.map(({ msg, host, correlation_id }) => ({ msg, host, correlation_id })),
        [
          { msg: 'DNS lookup failed', host: 'orders', correlation_id: undefined },
          { msg: 'DNS lookup recovered', host: 'orders', correlation_id: undefined },
        ],
      );
      assert.equal(changes.length, 1);
    });
  }

  it('rejects with the code of the lookup until the first success, then recovers', async (context) => {
    const dns = nameServer('10.0.0.1');
    dns.error = lookupError('ENOTFOUND');
    const { resolver } = createTestResolver(context, { lookup: dns.lookup });
    await assert.rejects(resolver.ready(), { code: 'ENOTFOUND' });
    await assert.rejects(resolver.ready(), { code: 'ENOTFOUND' });
    dns.error = undefined;
    await eventually(() => resolver.addresses.length > 0);
    assert.deepEqual(await resolver.ready(), ['10.0.0.1']);
  });

  it('does not look up more often for rejected callers', async (context) => {
    const dns = nameServer();
    const { resolver } = createTestResolver(context, { lookup: dns.lookup, intervalMs: 60_000 });
    for (let call = 0; call < 5; call += 1) await assert.rejects(resolver.ready(), { code: 'ENOTFOUND' });
    assert.equal(dns.queries.length, 1);
  });

  for (const addresses of [['10.0.0.1'], []]) {
    const reason = addresses.length > 0 ? 'an unreachable address' : 'a caller without an address';
    it(`looks up again for ${reason}, at most four times a second`, async (context) => {
      const dns = nameServer(...addresses);
      const { resolver } = createTestResolver(context, { lookup: dns.lookup, intervalMs: 60_000 });
      const report = addresses.length > 0 ? resolver.recheck : () => resolver.ready().catch(() => undefined);
      await resolver.ready().catch(() => undefined);
      const startedAt = performance.now();
      await eventually(() => {
        void report();
        return dns.queries.length === 4;
      });
      assert.ok(performance.now() - startedAt >= 3 * 240);
    });
  }

  it('times out a lookup that hangs, starts no second one in parallel, and uses its late result', async (context) => {
    let lookups = 0;
    let respond: (addresses: string[]) => void = () => undefined;
    const { logger, lines } = recordingLogger();
    const { resolver } = createTestResolver(context, {
      logger,
      timeoutMs: 20,
      lookup: () => {
        lookups += 1;
        return new Promise((resolve) => {
          respond = resolve;
        });
      },
    });
    await assert.rejects(resolver.ready(), { code: 'EAI_AGAIN', hostname: 'orders' });
    await assert.rejects(resolver.ready(), { code: 'EAI_AGAIN' });
    assert.equal(lookups, 1);
    respond(['10.0.0.1']);
    await eventually(() => lookups > 1);
    assert.deepEqual(await resolver.ready(), ['10.0.0.1']);
    assert.deepEqual(
      lines.map(({ msg }) => msg),
      ['DNS lookup failed', 'DNS lookup recovered'],
    );
  });

  it('does not wait after the first successful lookup', async (context) => {
    let lookups = 0;
    const { resolver } = createTestResolver(context, {
      lookup: () => {
        lookups += 1;
        return lookups === 1 ? Promise.resolve(['10.0.0.1']) : new Promise(() => undefined);
      },
    });
    await resolver.ready();
    await eventually(() => lookups === 2);
    assert.deepEqual(await resolver.ready(), ['10.0.0.1']);
  });

  it('returns an IP address without a lookup', async (context) => {
    for (const [host, address] of [
      ['127.0.0.1', '127.0.0.1'],
      ['[::1]', '::1'],
    ] as const) {
      const dns = nameServer('10.0.0.1');
      const { resolver } = createTestResolver(context, { host, lookup: dns.lookup });
      assert.deepEqual(resolver.addresses, [address]);
      assert.deepEqual(await resolver.ready(), [address]);
      assert.deepEqual(dns.queries, []);
    }
  });

  it('uses the lookup of the system, including the hosts file', async (context) => {
    const { resolver } = createTestResolver(context, { host: 'localhost' });
    assert.ok((await resolver.ready()).some((address) => address === '127.0.0.1' || address === '::1'));
    const { resolver: unknown } = createTestResolver(context, { host: 'nowhere.invalid' });
    await assert.rejects(unknown.ready(), ({ code }: NodeJS.ErrnoException) =>
      ['ENOTFOUND', 'EAI_AGAIN'].includes(code ?? ''),
    );
  });

  it('neither looks up nor reports changes after close', async (context) => {
    const dns = nameServer('10.0.0.1');
    let respond: (() => void) | undefined;
    const { resolver, changes } = createTestResolver(context, {
      lookup: async (host) => {
        const addresses = await dns.lookup(host);
        if (dns.queries.length > 1) await new Promise<void>((resolve) => (respond = resolve));
        return addresses;
      },
    });
    await resolver.ready();
    dns.addresses = ['10.0.0.2'];
    await eventually(() => respond !== undefined);
    resolver.close();
    respond?.();
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(dns.queries.length, 2);
    assert.equal(changes.length, 1);
    assert.deepEqual(await resolver.ready(), ['10.0.0.1']);
    const { resolver: unused } = createTestResolver(context, { lookup: dns.lookup });
    unused.close();
    await assert.rejects(unused.ready(), { code: 'ENOTFOUND' });
  });
});
