import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { readUsage } from './process-usage.ts';

describe('readUsage', { skip: !existsSync('/proc/self/stat') && 'this system has no /proc' }, () => {
  it('includes the usage of child processes', async (context) => {
    const busyChild = `const until = Date.now() + 60_000; process.stdout.write('begun'); while (Date.now() < until);`;
    const parent = spawn(
      process.execPath,
      [
        '-e',
        `const { spawn } = require('node:child_process');
         const child = spawn(process.execPath, ['-e', ${JSON.stringify(busyChild)}], { stdio: ['ignore', 'inherit', 'ignore'] });
         process.on('SIGTERM', () => child.kill() && process.exit());`,
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    context.after(async () => {
      parent.kill();
      await once(parent, 'exit');
    });
    await once(parent.stdout, 'data');
    const pid = parent.pid ?? 0;
    const before = await readUsage(pid);
    const deadline = performance.now() + 20_000;
    const used = async () => ((await readUsage(pid))?.cpuMicroseconds ?? 0) - (before?.cpuMicroseconds ?? 0);
    // The parent is idle, so 0.1 s of CPU is the child's.
    while ((await used()) < 100_000) assert.ok(performance.now() < deadline);
    // Two Node.js processes.
    assert.ok((before?.residentBytes ?? 0) > 60 * 1024 ** 2);
  });

  it('returns undefined for a process that does not exist', async () => {
    assert.equal(await readUsage(2 ** 30), undefined);
  });
});
