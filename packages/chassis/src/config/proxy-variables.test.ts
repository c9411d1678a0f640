import assert from 'node:assert/strict';
import { it } from 'node:test';
import { z } from 'zod';
import { StartupError } from '../startup-error.ts';
import { recordingLogger } from '../testing.ts';
import { loadConfig } from './load-config.ts';
import { proxyVariables, trustedProxies } from './proxy-variables.ts';

function read(env: Record<string, string>) {
  const { logger, lines } = recordingLogger();
  const proxies = trustedProxies(loadConfig(z.object(proxyVariables()), env), logger);
  return { proxies, lines };
}

it('trusts no proxy when neither variable is set', () => {
  for (const env of [{}, { TRUSTED_PROXIES: '', TRUSTED_PROXY_HOPS: '' }, { TRUSTED_PROXY_HOPS: '0' }])
    assert.deepEqual(read(env).proxies, { hops: 0, ranges: undefined });
});

it('takes the number of proxies, or their addresses', () => {
  assert.equal(read({ TRUSTED_PROXY_HOPS: '2' }).proxies.hops, 2);
  const { proxies } = read({ TRUSTED_PROXIES: '10.244.0.0/16, 2001:db8::1', TRUSTED_PROXY_HOPS: '0' });
  assert.equal(proxies.hops, 0);
  for (const address of ['10.244.1.1', '2001:db8::1']) assert.equal(proxies.ranges?.contains(address), true);
});

it('refuses both at once with exit code 78 and what to do', () => {
  assert.throws(
    () => read({ TRUSTED_PROXIES: '10.244.0.0/16', TRUSTED_PROXY_HOPS: '1' }),
    (error) => {
      assert.ok(error instanceof StartupError);
      assert.equal(error.exitCode, 78);
      assert.match(
        error.message,
        /^TRUSTED_PROXY_HOPS and TRUSTED_PROXIES are both set: set .*remove the other$/,
      );
      return true;
    },
  );
});

it('refuses what is no number of proxies and no range, naming the variable', () => {
  for (const value of ['-1', '1.5', 'one', '17'])
    assert.throws(
      () => read({ TRUSTED_PROXY_HOPS: value }),
      /TRUSTED_PROXY_HOPS must be a whole number from 0 to 16/,
    );
  for (const value of ['ingress', '10.0.0.0/33', '10.0.0.0/8,', '10.0.0.0/8 172.16.0.0/12'])
    assert.throws(() => read({ TRUSTED_PROXIES: value }), /TRUSTED_PROXIES must be addresses or ranges/);
});

it('warns at start when a range is wider than the network of a proxy', () => {
  const { lines } = read({
    TRUSTED_PROXIES: '10.0.0.0/8,10.244.0.0/16,172.16.0.0/12,::ffff:192.168.0.0/112',
  });
  assert.deepEqual(
    lines.map(({ level, msg, ranges }) => ({ level, msg, ranges })),
    [
      {
        level: 'warn',
        msg: 'TRUSTED_PROXIES is wider than proxy networks are',
        ranges: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'],
      },
    ],
  );
  for (const range of [
    '0.0.0.0/0',
    '128.0.0.0/1',
    '10.128.0.0/9',
    '100.64.0.0/10',
    '192.0.0.0/8',
    '192.168.1.0/16',
  ])
    assert.equal(read({ TRUSTED_PROXIES: range }).lines.length, 1, range);
  for (const range of [
    '::/0',
    '::/1',
    'fc00::/7',
    'fd00::/8',
    '::ffff:0:0/96',
    '::ffff:0:0/90',
    '::/80',
    '2000::/3',
  ])
    assert.equal(read({ TRUSTED_PROXIES: range }).lines.length, 1, range);
});

it('does not warn about networks of clusters, machines and content delivery networks', () => {
  for (const range of [
    '10.244.0.0/16',
    '10.96.0.0/12',
    '192.168.7.0/24',
    '172.18.0.0/16',
    '127.0.0.0/8',
    '::1',
    '192.0.2.7',
  ])
    assert.deepEqual(read({ TRUSTED_PROXIES: range }).lines, [], range);
  for (const range of [
    '104.16.0.0/13',
    '2a06:98c0::/29',
    '2600:9000::/28',
    'fd12:3456:789a::/48',
    '172.16.0.0/13',
  ])
    assert.deepEqual(read({ TRUSTED_PROXIES: range }).lines, [], range);
});
