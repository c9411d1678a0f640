import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it } from 'node:test';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { exitCodeOf, finish } from './child-process.ts';

const node = (program: string) => spawn(process.execPath, ['--eval', program], { stdio: 'pipe' });

describe('exitCodeOf', () => {
  it('returns the exit code once all output is read', async () => {
    const child = node('process.stdout.write("x".repeat(1_000_000)); process.exitCode = 3');
    let bytes = 0;
    child.stdout.on('data', (piece: Buffer) => {
      bytes += piece.length;
    });
    assert.equal(await exitCodeOf(child), 3);
    assert.equal(bytes, 1_000_000);
  });

  it('returns 1 if a signal ended the process', async () => {
    assert.equal(await exitCodeOf(node('process.kill(process.pid, "SIGKILL")')), 1);
  });

  it('rejects if the command does not exist', async () => {
    await assert.rejects(exitCodeOf(spawn(`${process.execPath}-missing`)), { code: 'ENOENT' });
  });
});

describe('finish', () => {
  it('resolves when the process succeeds', async () => {
    await finish(node(''), ['npm', 'ci']);
  });

  it('rejects with command and exit code when the process fails', async () => {
    const failed = finish(node('process.exitCode = 7'), ['npm', 'ci', '--no-audit']);
    await assert.rejects(failed, new StartupError('npm ci failed with exit code 7.'));
  });
});
