import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { parse } from 'yaml';
import { describeOnNats, startNats } from '../../packages/events/testing/nats.ts';
import { eventServices } from '../../scripts/lib/nats-users.ts';
import { root } from '../../scripts/lib/services.ts';

/** The members of a compose.yaml service that these tests use. */
interface ComposeService {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
}

const senders = eventServices.map(({ name }) => name);

/** Returns the services of compose.yaml with variables replaced by the values of `env` or their defaults. */
async function readComposeServices(
  env: Readonly<Record<string, string>>,
): Promise<Record<string, ComposeService>> {
  const text = await readFile(join(root, 'compose.yaml'), 'utf8');
  // Replaced after parsing, as Compose does, so that a value remains a string.
  const replaceVariables = (value: string) =>
    value.replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name, standard) => env[name] || standard);
  return parse(text, (_, value) => (typeof value === 'string' ? replaceVariables(value) : value), {
    merge: true,
  }).services;
}

/** Connects to the NATS of compose.yaml as each service, as the operator, and without credentials. Returns the users that may connect. */
async function findConnectedUsers(env: Readonly<Record<string, string>>): Promise<string[]> {
  const services = await readComposeServices(env);
  const { command, environment, volumes } = services.nats as ComposeService;
  const [mount = ''] = volumes.filter((volume) => volume.startsWith('./'));
  const [source = '', target = '', mode] = mount.split(':');
  assert.equal(mode, 'ro');
  const args = command.slice(0, command.indexOf('--jetstream'));
  const nats = await startNats({
    args: args.map((arg) => (arg === target ? join(root, source) : arg)),
    env: environment,
  });
  try {
    const credentials = [
      ...senders.map((name) => (services[name] as ComposeService).environment),
      { NATS_USER: 'zerda', NATS_PASSWORD: env.NATS_PASSWORD || 'nats' },
      { NATS_USER: 'zerda', NATS_PASSWORD: '' },
      {},
    ];
    const users = credentials.map(async ({ NATS_USER: user, NATS_PASSWORD: pass }) => {
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
  for (const [passwords, env] of Object.entries({
    'default passwords': {},
    'custom passwords, including digits only': {
      NATS_PASSWORD: '12345678',
      USER_NATS_PASSWORD: '0123',
      ORDER_NATS_PASSWORD: 'a$b c',
    },
  })) {
    it(`accepts the services and the operator with ${passwords}, and rejects clients without credentials`, async () => {
      assert.deepEqual(await findConnectedUsers(env), [...senders, 'zerda']);
    });
  }
});

it('signs events between the services of compose.yaml, and accepts no unsigned ones', async () => {
  const services = await readComposeServices({});
  const environments = senders.map((name) => (services[name] as ComposeService).environment);
  for (const { EVENT_SECRET = '', EVENT_SIGNATURES } of environments) {
    assert.ok(EVENT_SECRET.length >= 32);
    assert.equal(EVENT_SIGNATURES, 'required');
  }
  assert.equal(new Set(environments.map(({ EVENT_SECRET }) => EVENT_SECRET)).size, 1);
  assert.equal(new Set(environments.map(({ NATS_PASSWORD }) => NATS_PASSWORD)).size, senders.length);
});
