import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { services } from '../../scripts/lib/services.ts';
import { startScript } from '../kit/command.ts';
import { comparableOutput, readCommands } from '../kit/documented-commands.ts';
import { copyRepository, type RepositoryCopy } from '../kit/repository-copy.ts';

const guide = 'docs/guides/your-own-service.md';

/** Maximum number of existing files that a new service changes, besides the lock file and generated ones. */
const maxEditedFiles = 8;

describe('npm run new-service', { skip: process.platform === 'win32' }, () => {
  let copy: RepositoryCopy;
  const run = (line: string) => copy.run(line);
  const changes = () => run('git status --porcelain');
  const commandsOf = (pattern: RegExp) =>
    readCommands(guide)
      .filter(({ command }) => pattern.test(command))
      .map(({ command, ...rest }) => ({ ...rest, command: command.trim() }));

  before(async () => {
    copy = await copyRepository('all');
  });
  after(() => copy.remove());

  it('rejects names and entities that are in use, and changes nothing', async () => {
    for (const [args, message] of [
      ['order-service', /packages\/order-service exists/],
      ['sample-service', /packages\/sample-service exists/],
      ['orders', /order-service has \/api\/orders.*--entity/],
      ['order', /would have the variables of order-service/],
      ['docs', /reserved name/],
      ['metrics', /compose\.yaml: volumes\.metrics exists/],
      ['Payments', /"Payments" is not a valid name/],
      ['payments --hears order.placed', /only user\.deleted/],
      ['payments --no-database --hears user.deleted', /excludes --hears/],
      ['', /Expected one name/],
    ] as const)
      await assert.rejects(run(`npm run --silent new-service -- ${args}`), message, args);
    assert.equal(await changes(), '');
  });

  it('creates a service as the guide shows, and one without a database', async () => {
    const [create] = commandsOf(/new-service/);
    assert.ok(create);
    const [, changed = ''] = /^Changed:\n((?: {2}.+\n)+)/m.exec(await run(create.command)) ?? [];
    const edited = changed.split('\n').filter((line) => /^ {2}\S+$/.test(line));
    assert.ok(edited.length > 0 && edited.length <= maxEditedFiles, changed);
    await run('npm run new-service -- quotes --no-database');
    // Its names are parts of those of others.
    await run('npm run new-service -- pay --entity credit-note');
    // The lock file agrees with the packages.
    await run('npm ci --dry-run --prefer-offline --no-audit --no-fund');
    await run('git add --all');
  });

  it('creates services whose tests and checks pass', async () => {
    const [test] = commandsOf(/npm test/);
    assert.ok(test);
    await run(
      `${test.command.split('\n')[0]} packages/quotes packages/pay scripts/lib/{banner,console-lines,generated-secrets,services,delivery-units}.test.ts tests/checks/{readme,nats-users,observe,migrations,audit-actions,problems}.test.ts`,
    );
    await run('npm run check');
  });

  it('creates services that run behind the gateway', async (context) => {
    const names = [...services.map(({ variable }) => variable), 'PAYMENTS', 'QUOTES', 'PAY'];
    const ports = await freePorts(names.length * 2);
    const env: NodeJS.ProcessEnv = { NODE_TEST_CONTEXT: undefined };
    for (const [index, variable] of names.entries()) {
      env[`ZERDA_${variable}_PORT`] = String(ports[index * 2]);
      env[`ZERDA_${variable}_MANAGEMENT_PORT`] = String(ports[index * 2 + 1]);
    }
    const origin = `localhost:${env.ZERDA_GATEWAY_PORT}`;
    const system = startScript('start', env, copy.folder);
    context.after(async () => {
      system.kill('SIGINT');
      await system.exited;
    });
    await system.line(/is ready/);

    const calls = commandsOf(/^curl/);
    assert.equal(calls.length, 2);
    for (const { command, output } of calls) {
      const printed = await run(command.replaceAll('localhost:8000', origin));
      assert.deepEqual(comparableOutput(printed, 'json'), comparableOutput(output?.text ?? '', 'json'));
    }
    const read = async (path: string) => JSON.parse(await run(`curl -s ${origin}${path}`));
    assert.equal((await read('/api/quotes/estimate?quantity=2')).data.total, 19.98);
    assert.deepEqual((await read('/api/credit-notes')).data, []);
    const health = await read('/api/health');
    assert.deepEqual(
      ['payments', 'quotes', 'pay'].map((name) => health.data.services[name].status),
      ['healthy', 'healthy', 'healthy'],
    );
    const documented = await read('/openapi.json');
    assert.ok('/api/payments/{id}' in documented.paths);
    await run(`curl -s -X DELETE ${origin}/api/users/1`);
    await eventually(async () => (await read('/api/payments')).data.length === 0);
  });

  it('is undone by npm run remove-service', async () => {
    const [remove] = commandsOf(/remove-service/);
    assert.ok(remove);
    await assert.rejects(
      run('npm run --silent remove-service -- order-service'),
      /order-service is not a service that can be removed/,
    );
    await run('npm run remove-service -- quotes');
    await run('npm run remove-service -- pay');
    await run(remove.command);
    await run('git reset --quiet');
    assert.equal(await changes(), '');
  });
});
