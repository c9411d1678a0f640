import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it } from 'node:test';
import { fixturePlans, textOf } from '../testing/fixture-plans.ts';
import type { ServiceProcess } from './service-process.ts';
import { supervise } from './supervisor.ts';

async function run(...modes: (string | undefined)[]) {
  const plans = await fixturePlans(...modes);
  const lines: string[] = [];
  const exits: { service: ServiceProcess; exitCode: number }[] = [];
  const supervisor = supervise(plans, {
    onLine: (service, line) => lines.push(`${service}: ${line}`),
    onUnexpectedExit: (service, exitCode) => exits.push({ service, exitCode }),
    stopDeadlineMs: 300,
  });
  return { plans, lines, exits, supervisor };
}

describe('supervisor', () => {
  it('is ready when every service responds, and stops all of them with exit code 0', async () => {
    const { plans, lines, exits, supervisor } = await run(undefined, undefined);
    await supervisor.ready;
    for (const { url } of plans) assert.match(await textOf(url), /^\d+$/);
    supervisor.stop();
    assert.equal(await supervisor.ended, 0);
    assert.ok(
      lines.includes('service-1: service-1 stopping') && lines.includes('service-2: service-2 stopping'),
    );
    assert.deepEqual(exits, []);
  });

  it('ends with the exit code of a service that fails at startup, and reports its last lines', async () => {
    const { exits, lines, supervisor } = await run(undefined, 'dies-at-start');
    assert.equal(await supervisor.ended, 78);
    assert.equal(exits.length, 1);
    assert.equal(exits[0]?.service.name, 'service-2');
    assert.deepEqual(exits[0]?.service.lastLines, ['no database to be had']);
    assert.ok(lines.includes('service-2: no database to be had'));
  });

  it('ends when a service ends later, and restarts none', async () => {
    const { plans, exits, supervisor } = await run(undefined, undefined);
    await supervisor.ready;
    await textOf(`${plans[0]?.url}/die`).catch(() => undefined);
    assert.equal(await supervisor.ended, 3);
    assert.deepEqual(
      exits.map(({ service }) => service.name),
      ['service-1'],
    );
    for (const { url } of plans) await assert.rejects(textOf(url));
  });

  it('reports a service killed by a signal as a failure', {
    skip: process.platform === 'win32',
  }, async () => {
    const { supervisor } = await run(undefined);
    await supervisor.ready;
    supervisor.processes[0]?.kill('SIGKILL');
    assert.equal(await supervisor.ended, 128 + 9);
  });

  it('kills a service that ignores SIGTERM', { skip: process.platform === 'win32' }, async () => {
    const { lines, supervisor } = await run('ignores-sigterm');
    await supervisor.ready;
    supervisor.stop();
    assert.equal(await supervisor.ended, 128 + 9);
    assert.ok(lines.includes('service-1: not yet'));
  });

  it('leaves no service running when it is killed itself', {
    skip: process.platform === 'win32',
  }, async () => {
    const [plan] = await fixturePlans(undefined);
    const program = `
      import { supervise } from ${JSON.stringify(new URL('supervisor.ts', import.meta.url).href)};
      const quiet = () => {};
      await supervise([${JSON.stringify(plan)}], { onLine: quiet, onUnexpectedExit: quiet }).ready;
      process.stdout.write('ready');`;
    const parent = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => parent.stdout.once('data', resolve));
    const service = Number(await textOf(plan?.url ?? ''));
    parent.kill('SIGKILL');
    const deadline = performance.now() + 5_000;
    while (isAlive(service)) {
      assert.ok(performance.now() < deadline, 'the service outlived its supervisor');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
