import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  chmod,
  chown,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StartupError } from '../startup-error.ts';
import { acquireDataFolder, acquireForRemoval, dataFolderUser } from './data-folder.ts';

const program = fileURLToPath(new URL('testing-data-folder.ts', import.meta.url));
const linux = { skip: process.platform !== 'linux' && 'start times and states are read from /proc' };

const posix = { skip: process.platform === 'win32' && 'modes of files say nothing there' };

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

  it('says so when the folder cannot be written', posix, async () => {
    await chmod(parent, 0o555);
    // Root may write everywhere, so it becomes another user for a moment.
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
    await chmod(parent, 0o755);
    assert.deepEqual(await readdir(parent), []);
  });

  describe('and other users', posix, () => {
    let dataDir: string;

    beforeEach(async () => {
      await chmod(parent, 0o755);
      dataDir = join(parent, 'data');
      folder = join(dataDir, 'user-service');
    });

    async function modeOf(path: string): Promise<string> {
      return ((await stat(path)).mode & 0o7777).toString(8);
    }

    /** A folder as earlier versions made them under a usual umask, with a file of the engine; the path of that file. */
    async function leaveOpenFolder(): Promise<string> {
      const wal = join(folder, 'files', 'pg_wal', '000000010000000000000001');
      await mkdir(dirname(wal), { recursive: true });
      await writeFile(wal, 'password hashes');
      await writeFile(join(folder, 'engine-version'), '18\n');
      await chmod(wal, 0o666);
      for (const path of [dirname(wal), dirname(dirname(wal)), folder, dataDir]) await chmod(path, 0o755);
      return wal;
    }

    /** What another user reads of a file; undefined when they may not, or when this user cannot become another one. */
    function readAsNobody(file: string): Promise<string | undefined> {
      return new Promise((resolve) => {
        execFile('cat', [file], { uid: 65_534, gid: 65_534 }, (error, text) =>
          resolve(error ? undefined : text),
        );
      });
    }

    async function assertRefused(path: string, message: RegExp): Promise<void> {
      await assert.rejects(acquireDataFolder(path), (error) => {
        assert.ok(error instanceof StartupError);
        assert.equal(error.exitCode, 78);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    }

    it('have no access to it, nor to the folder it is in, whatever the umask', async () => {
      const umask = process.umask(0);
      try {
        await (await acquireDataFolder(folder)).release();
      } finally {
        process.umask(umask);
      }
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['700', '700']);
    });

    it('lose the access that they had to an existing one', async () => {
      const wal = await leaveOpenFolder();
      if (process.getuid?.() === 0) assert.equal(await readAsNobody(wal), 'password hashes');
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['700', '700']);
      assert.equal(await readAsNobody(wal), undefined);
      assert.equal(await readFile(wal, 'utf8'), 'password hashes');
    });

    it('lose none to a folder that has other things in it', async () => {
      const wal = await leaveOpenFolder();
      await writeFile(join(dataDir, 'thesis.txt'), 'public');
      await chmod(join(dataDir, 'thesis.txt'), 0o644);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['755', '700']);
      assert.equal(await readAsNobody(wal), undefined);
    });

    it('lose none to a folder like /tmp, even when it is empty', async () => {
      await mkdir(dataDir);
      await chmod(dataDir, 0o1777);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['1777', '700']);
    });

    it('lose none to what a symbolic link in place of the folder above leads to', async () => {
      await mkdir(join(parent, 'disk'));
      await chmod(join(parent, 'disk'), 0o755);
      await symlink('disk', dataDir);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(join(parent, 'disk')), await modeOf(folder)], ['755', '700']);
    });

    it('keep a data folder of a service from being taken that is a link to a folder they have access to', async () => {
      const elsewhere = join(parent, 'elsewhere');
      await mkdir(elsewhere);
      await mkdir(dataDir);
      await chmod(elsewhere, 0o750);
      await symlink(elsewhere, folder);
      await assertRefused(
        folder,
        /user-service leads to .*elsewhere, which is not this user's alone\. Run chmod 700/,
      );
      assert.deepEqual([await modeOf(elsewhere), await readdir(elsewhere)], ['750', []]);
      await chmod(elsewhere, 0o700);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual(await readdir(elsewhere), ['engine-version']);
    });

    it('keep a folder from being taken that they can read and that has other things in it', async () => {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'thesis.txt'), 'public');
      await chmod(folder, 0o755);
      await assertRefused(folder, /user-service can be read by other users and has thesis\.txt in it/);
      assert.deepEqual([await modeOf(folder), await readdir(folder)], ['755', ['thesis.txt']]);
      await chmod(folder, 0o700);
      await (await acquireDataFolder(folder)).release();
    });

    const root = { skip: process.getuid?.() !== 0 && 'only root can give a folder away' };
    it('keep a folder from being taken that is theirs', root, async () => {
      await leaveOpenFolder();
      await chown(folder, 65_534, 65_534);
      await assertRefused(
        folder,
        /user-service belongs to another user \(uid 65534\)\. Change its owner, or set DATA_DIR/,
      );
      assert.deepEqual([await modeOf(folder), await modeOf(dataDir)], ['755', '755']);
      assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files']);
    });
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
