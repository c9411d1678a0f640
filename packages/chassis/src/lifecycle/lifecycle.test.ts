import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { recordingLogger, silentLogger } from '../../testing/observed.ts';
import { createLifecycle } from './lifecycle.ts';

describe('lifecycle', () => {
  it('is ready between markReady and shutdown', async () => {
    const lifecycle = createLifecycle({ logger: silentLogger() });
    assert.equal(lifecycle.ready, false);
    lifecycle.markReady();
    assert.equal(lifecycle.ready, true);
    const ended = lifecycle.shutdown();
    assert.equal(lifecycle.ready, false);
    assert.equal(lifecycle.draining, true);
    lifecycle.markReady();
    assert.equal(lifecycle.ready, false, 'a late markReady does not cancel the shutdown');
    await ended;
  });

  it('closes resources one at a time in reverse order', async () => {
    const lifecycle = createLifecycle({ logger: silentLogger() });
    const events: string[] = [];
    for (const name of ['database', 'server']) {
      lifecycle.onShutdown(name, async () => {
        events.push(`${name} closing`);
        await new Promise(setImmediate);
        events.push(`${name} closed`);
      });
    }
    await lifecycle.shutdown();
    assert.deepEqual(events, ['server closing', 'server closed', 'database closing', 'database closed']);
  });

  it('closes the other resources if one fails, and logs its name', async () => {
    const { logger, lines } = recordingLogger();
    const lifecycle = createLifecycle({ logger });
    let closed = false;
    lifecycle.onShutdown('database', () => {
      closed = true;
    });
    lifecycle.onShutdown('server', () => Promise.reject(new Error('stuck')));
    await assert.rejects(lifecycle.shutdown(), /1 resources could not be closed/);
    assert.equal(closed, true);
    assert.ok(lines.some(({ msg, resource }) => msg === 'resource close failed' && resource === 'server'));
  });

  it('closes each resource once if shutdown is called twice', async () => {
    const lifecycle = createLifecycle({ logger: silentLogger() });
    let times = 0;
    lifecycle.onShutdown('database', () => {
      times += 1;
    });
    await Promise.all([lifecycle.shutdown(), lifecycle.shutdown()]);
    assert.equal(times, 1);
  });

  it('drains before it closes any resource', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const lifecycle = createLifecycle({ logger: silentLogger(), drainMs: 5000 });
    let closed = false;
    lifecycle.onShutdown('server', () => {
      closed = true;
    });
    lifecycle.markReady();
    const ended = lifecycle.shutdown();
    context.mock.timers.tick(4999);
    await new Promise(setImmediate);
    assert.equal(closed, false);
    context.mock.timers.tick(1);
    await ended;
    assert.equal(closed, true);
  });
});
