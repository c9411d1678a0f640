import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { parse } from 'yaml';
import { describeOnNats, startNats } from '../../packages/chassis/src/events/testing-nats.ts';
import { root } from '../../scripts/lib/services.ts';

/** A service of compose.yaml, as far as it is looked at here. */
interface ComposeService {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
}

const senders = ['user-service', 'order-service'];

/** compose.yaml with its variables filled in: those of `env`, and the defaults of the others. */
async function composed(env: Readonly<Record<string, string>>): Promise<Record<string, ComposeService>> {
  const text = await readFile(join(root, 'compose.yaml'), 'utf8');
  // Filled in once the file is read, as Compose does it: a value stays a text.
  const filled = (value: string) =>
    value.replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name, standard) => env[name] || standard);
  return parse(text, (_, value) => (typeof value === 'string' ? filled(value) : value), { merge: true })
    .services;
}

/** What the services of compose.yaml, and others, get from its NATS: the users that may connect. */
async function usersThatConnect(env: Readonly<Record<string, string>>): Promise<string[]> {
  const services = await composed(env);
  const { command, environment, volumes } = services.nats as ComposeService;
  const [mount = ''] = volumes.filter((volume) => volume.startsWith('./'));
  const [source = '', target = '', mode] = mount.split(':');
  assert.equal(mode, 'ro');
  const args = command.slice(0, command.indexOf('--jetstream'));
  const nats = await startNats({
    args: args.map((word) => (word === target ? join(root, source) : word)),
    env: environment,
  });
  assert.ok(nats);
  try {
    const accesses = [
      ...senders.map((name) => (services[name] as ComposeService).environment),
      { NATS_USER: 'zerda', NATS_PASSWORD: env.NATS_PASSWORD || 'nats' },
      { NATS_USER: 'zerda', NATS_PASSWORD: '' },
      {},
    ];
    const users = accesses.map(async ({ NATS_USER: user, NATS_PASSWORD: pass }) => {
      const options = { ...(user !== undefined && { user }), ...(pass !== undefined && { pass }) };
      try {
        await (await connect({ servers: nats.url, reconnect: false, ...options })).close();
        return [user ?? 'none'];
      } catch {
        return [];
      }
    });
    return (await Promise.all(users)).flat();
  } finally {
    await nats.stop();
  }
}

await describeOnNats('NATS of compose.yaml', () => {
  for (const [what, env] of Object.entries({
    'the passwords it comes with': {},
    'passwords of one’s own, digits too': {
      NATS_PASSWORD: '12345678',
      USER_NATS_PASSWORD: '0123',
      ORDER_NATS_PASSWORD: 'a$b c',
    },
  })) {
    it(`takes both services and an operator with ${what}, and no client without`, async () => {
      assert.deepEqual(await usersThatConnect(env), [...senders, 'zerda']);
    });
  }
});

it('signs events between the services of compose.yaml, and accepts no unsigned ones', async () => {
  const services = await composed({});
  const environments = senders.map((name) => (services[name] as ComposeService).environment);
  for (const { EVENT_SECRET = '', EVENT_SIGNATURES } of environments) {
    assert.ok(EVENT_SECRET.length >= 32);
    assert.equal(EVENT_SIGNATURES, 'required');
  }
  assert.equal(new Set(environments.map(({ EVENT_SECRET }) => EVENT_SECRET)).size, 1);
  assert.equal(new Set(environments.map(({ NATS_PASSWORD }) => NATS_PASSWORD)).size, 2);
});
