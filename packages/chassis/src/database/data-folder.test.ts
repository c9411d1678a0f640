import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../startup-error.ts';
import { acquireDataFolder, acquireForRemoval, dataFolderUser } from './data-folder.ts';

const program = fileURLToPath(new URL('testing-data-folder.ts', import.meta.url));
const linux = { skip: process.platform !== 'linux' && 'start times and states are read from /proc' };

/** A process of its own that takes folders. */
interface Taker {
  readonly pid: number | undefined;
  /** What it says to the folder. */
  take(folder: string): Promise<string>;
  /** Ends it as a crash does: nothing is released. */
  kill(): Promise<void>;
  /** Lets it release what it has and end. */
  end(): Promise<void>;
}

const children: ChildProcess[] = [];

/** @param script module that runs first in the process */
function startTaker(script?: string): Taker {
  const child = spawn(
    process.execPath,
    [
      ...['--import', 'tsx'],
      ...(script === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(script)}`]),
      program,
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit');
  return {
    pid: child.pid,
    async take(folder) {
      child.stdin.write(`${folder}\n`);
      const { value, done } = await lines.next();
      return done ? 'ended' : value;
    },
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
    async end() {
      child.stdin.end();
      await exited;
    },
  };
}

describe('data folder', () => {
  let parent: string;
  let folder: string;
  /** Id of a process that has ended. */
  let ended: number | undefined;

  before(async () => {
    const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' });
    await once(child, 'exit');
    ended = child.pid;
  });
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'zerda-data-folder-'));
    folder = join(parent, 'user-service');
  });
  afterEach(() => rm(parent, { recursive: true, force: true }));
  after(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  /** A folder whose lock was left behind. */
  async function leaveLock(content: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'lock'), content);
  }

  async function assertFree(): Promise<void> {
    const { release } = await acquireDataFolder(folder);
    await release();
    assert.deepEqual(await readdir(folder), ['engine-version']);
  }

  it('refuses a second process with one line that names folder and process, and frees the folder when the first ends', async () => {
    const taker = startTaker();
    assert.equal(await taker.take(folder), 'taken');
    assert.equal(await dataFolderUser(folder), taker.pid);
    await assert.rejects(acquireDataFolder(folder), {
      name: 'StartupError',
      exitCode: 1,
      message: `${folder} is in use by process ${taker.pid}; stop it, or choose another folder with DATA_DIR`,
    });
    await taker.end();
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('refuses the same process a second time, until it releases', async () => {
    const { release } = await acquireDataFolder(folder);
    await assert.rejects(acquireDataFolder(folder), new RegExp(`in use by process ${process.pid}`));
    await release();
    const second = await acquireDataFolder(folder);
    await release();
    assert.equal(await dataFolderUser(folder), process.pid, 'a release that comes twice frees nobody else');
    await second.release();
    await assertFree();
  });

  it('takes over from a process that was killed', async () => {
    const taker = startTaker();
    assert.equal(await taker.take(folder), 'taken');
    await taker.kill();
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('takes over from a process that had the same id as this one, as in a container that starts again', async () => {
    const startedAt = process.platform === 'linux' ? await startOf(process.pid) : '';
    await leaveLock(`${process.pid} ${startedAt} ${randomUUID()}`);
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('takes over when the id went to another process since', linux, async () => {
    const taker = startTaker();
    await taker.take(join(parent, 'another'));
    await leaveLock(`${taker.pid} 1 ${randomUUID()}`);
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
    await taker.kill();
  });

  it('takes over from a process that has ended without its parent having noticed', linux, async () => {
    // The shell becomes a program that never asks what became of its child.
    const shell = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(shell);
    const [output] = await once(shell.stdout, 'data');
    const pid = Number(output);
    while (!(await readFile(`/proc/${shell.pid}/cmdline`, 'utf8')).startsWith('sleep')) await wait(1);
    process.kill(pid, 'SIGKILL');
    while (!/\) Z /.test(await readFile(`/proc/${pid}/stat`, 'utf8'))) await wait(1);
    await leaveLock(`${pid} ${await startOf(pid)} ${randomUUID()}`);
    await assertFree();
    shell.kill('SIGKILL');
  });

  it('goes by the id alone where no start time was written', async () => {
    const taker = startTaker();
    await taker.take(join(parent, 'another'));
    await leaveLock(`${taker.pid}  ${randomUUID()}`);
    await assert.rejects(acquireDataFolder(folder), new RegExp(`in use by process ${taker.pid}`));
    await taker.kill();
    await assertFree();
  });

  it('takes over a lock that says nothing, as the loss of power leaves one', async () => {
    for (const content of ['', '\0\0\0', '0', '-1']) {
      await leaveLock(content);
      await assertFree();
    }
  });

  it('gives a stale lock to exactly one of many', async () => {
    const takers = Array.from({ length: 3 }, () => startTaker());
    for (const taker of takers) await taker.take(join(parent, `own-${taker.pid}`));
    for (let round = 0; round < 40; round += 1) {
      folder = join(parent, `round-${round}`);
      await leaveLock(`${ended} 1 ${randomUUID()}`);
      const here = Array.from({ length: 3 }, () => acquireDataFolder(folder).then(() => 'taken', String));
      const answers = await Promise.all([...takers.map((taker) => taker.take(folder)), ...here]);
      const refused = answers.filter((answer) => answer !== 'taken');
      assert.equal(refused.length, answers.length - 1, answers.join('\n'));
      for (const answer of refused) assert.match(answer, /in use by process \d+/);
    }
    for (const taker of takers) await taker.kill();
  });

  it('can be taken after a process was killed in the middle of taking it over', async () => {
    await leaveLock(`${ended} 1 ${randomUUID()}`);
    const script = `import fs from 'node:fs/promises';
      import { syncBuiltinESMExports } from 'node:module';
      fs.rename = () => process.kill(process.pid, 'SIGKILL');
      syncBuiltinESMExports();`;
    assert.equal(await startTaker(script).take(folder), 'ended');
    assert.equal((await readdir(folder)).length, 3, 'lock, the name of its successor, and what both link to');
    const { release } = await acquireDataFolder(folder);
    await assert.rejects(acquireDataFolder(folder), /in use/);
    await release();
    assert.equal(await dataFolderUser(folder), undefined);
  });

  it('refuses a folder of another engine version with exit code 78, and changes nothing', async () => {
    await mkdir(folder);
    await writeFile(join(folder, 'engine-version'), '17\n');
    await assert.rejects(acquireDataFolder(folder), (error) => {
      assert.ok(error instanceof StartupError);
      assert.equal(error.exitCode, 78);
      assert.match(error.message, /^.*was written by PostgreSQL 17, this is 18: .*npm run reset$/);
      return true;
    });
    assert.deepEqual(await readdir(folder), ['engine-version']);
    assert.equal(await readFile(join(folder, 'engine-version'), 'utf8'), '17\n');
  });

  it('says so when the path is a file, or lies below one', async () => {
    await writeFile(folder, 'precious');
    for (const path of [folder, join(folder, 'below')]) {
      await assert.rejects(acquireDataFolder(path), {
        name: 'StartupError',
        message: `${path} is not a folder; set DATA_DIR to one`,
      });
    }
    assert.equal(await readFile(folder, 'utf8'), 'precious');
  });

  it('says so when the folder cannot be written', { skip: process.platform === 'win32' }, async () => {
    await mkdir(folder);
    await chmod(folder, 0o555);
    await chmod(parent, 0o755);
    // Root may write everywhere, so it becomes somebody else for a moment.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) process.seteuid?.('nobody');
    try {
      await assert.rejects(acquireDataFolder(folder), {
        name: 'StartupError',
        message: `${folder} cannot be written; give this user the right to, or set DATA_DIR`,
      });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    assert.deepEqual(await readdir(folder), []);
  });

  describe('to be removed', () => {
    it('goes as a whole, whatever engine wrote it and whatever lock was left', async () => {
      await leaveLock(`${ended} 1 ${randomUUID()}`);
      await mkdir(join(folder, 'files', 'base'), { recursive: true });
      await writeFile(join(folder, 'engine-version'), '17\n');
      await writeFile(join(folder, `lock.${randomUUID()}`), '');
      const doomed = await acquireForRemoval(folder);
      await assert.rejects(acquireDataFolder(folder), /in use/);
      await doomed?.remove();
      assert.deepEqual(await readdir(parent), []);
    });

    it('is undefined when there is none', async () => {
      assert.equal(await acquireForRemoval(folder), undefined);
      assert.equal(await acquireForRemoval(join(parent, 'no', 'such', 'folder')), undefined);
    });

    it('stays when it is let go, and can be used', async () => {
      await mkdir(folder);
      await writeFile(join(folder, 'engine-version'), '18\n');
      await (await acquireForRemoval(folder))?.release();
      await assertFree();
    });

    it('is refused while a process has it', async () => {
      const { release } = await acquireDataFolder(folder);
      await assert.rejects(acquireForRemoval(folder), /in use by process/);
      await release();
    });

    it('is refused when it is no data folder, and nothing in it changes', async () => {
      await mkdir(join(folder, 'files'), { recursive: true });
      await assert.rejects(acquireForRemoval(folder), {
        name: 'StartupError',
        message: `${folder} is not a data folder of a service: it has no engine-version in it. It is left alone`,
      });
      await writeFile(join(folder, 'engine-version'), '18\n');
      await writeFile(join(folder, 'thesis.txt'), 'precious');
      await assert.rejects(acquireForRemoval(folder), /user-service is not .* it has thesis\.txt in it\./);
      assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files', 'thesis.txt']);
    });

    it('is refused when it is a file or a link', async () => {
      await mkdir(join(parent, 'target'));
      await symlink(join(parent, 'target'), folder);
      await assert.rejects(acquireForRemoval(folder), /is not a data folder .* it is not a folder\./);
      await assert.rejects(
        acquireForRemoval(join(folder, '..', 'target', '..', 'user-service')),
        /not a folder/,
      );
      assert.deepEqual((await readdir(parent)).sort(), ['target', 'user-service']);
    });
  });
});

/** When a process started, in ticks since the boot (proc_pid_stat(5)). */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}
