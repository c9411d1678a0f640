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
import { programArgs } from '../../testing/program.ts';
import { StartupError } from '../startup-error.ts';
import { acquireDataFolder, acquireForRemoval, dataFolderUser } from './data-folder.ts';

const program = new URL('../../testing/data-folder-process.ts', import.meta.url);
const linux = { skip: process.platform !== 'linux' && 'requires /proc' };

const posix = { skip: process.platform === 'win32' && 'file modes have no effect on Windows' };

/** A child process that locks folders. */
interface LockingProcess {
  readonly pid: number | undefined;
  /** Returns the output for the folder; `ended` after the process has ended. */
  lock(folder: string): Promise<string>;
  /** Kills the process; it releases nothing. */
  kill(): Promise<void>;
  /** Ends the process after it has released its locks. */
  end(): Promise<void>;
}

const children: ChildProcess[] = [];

/** @param script module that is loaded first */
function startLockingProcess(script?: string): LockingProcess {
  const child = spawn(
    process.execPath,
    [
      ...(script === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(script)}`]),
      ...programArgs(program),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  children.push(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const exited = once(child, 'exit');
  return {
    pid: child.pid,
    async lock(folder) {
      child.stdin.write(`${folder}\n`);
      const { value, done } = await lines.next();
      if (!done) return value;
      // The output of a killed process ends before the process.
      await exited;
      return 'ended';
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
  /** Id of an ended process. */
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

  /** Creates a folder with a stale lock. */
  async function leaveLock(content: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'lock'), content);
  }

  async function assertFree(): Promise<void> {
    const { release } = await acquireDataFolder(folder);
    await release();
    assert.deepEqual(await readdir(folder), ['engine-version']);
  }

  it('rejects a second process with the folder and process id until the first ends', async () => {
    const other = startLockingProcess();
    assert.equal(await other.lock(folder), 'taken');
    assert.equal(await dataFolderUser(folder), other.pid);
    await assert.rejects(acquireDataFolder(folder), {
      name: 'StartupError',
      exitCode: 1,
      message: `${folder} is in use by process ${other.pid}. Stop it, or set DATA_DIR to another folder`,
    });
    await other.end();
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('rejects a second lock of the same process until the first is released', async () => {
    const { release } = await acquireDataFolder(folder);
    await assert.rejects(acquireDataFolder(folder), new RegExp(`in use by process ${process.pid}`));
    await release();
    const second = await acquireDataFolder(folder);
    await release();
    assert.equal(await dataFolderUser(folder), process.pid, 'a second release does not unlock the new lock');
    await second.release();
    await assertFree();
  });

  it('takes over the lock of a killed process', async () => {
    const other = startLockingProcess();
    assert.equal(await other.lock(folder), 'taken');
    await other.kill();
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('takes over the lock of a previous process with the same id, as in a restarted container', async () => {
    const startedAt = process.platform === 'linux' ? await startOf(process.pid) : '';
    await leaveLock(`${process.pid} ${startedAt} ${randomUUID()}`);
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
  });

  it('takes over the lock if another process has reused the id', linux, async () => {
    const other = startLockingProcess();
    await other.lock(join(parent, 'another'));
    await leaveLock(`${other.pid} 1 ${randomUUID()}`);
    assert.equal(await dataFolderUser(folder), undefined);
    await assertFree();
    await other.kill();
  });

  it('takes over the lock of a zombie process', linux, async () => {
    // The shell is replaced by a program that never reaps its child.
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

  it('compares only the process id if the lock has no start time', async () => {
    const other = startLockingProcess();
    await other.lock(join(parent, 'another'));
    await leaveLock(`${other.pid}  ${randomUUID()}`);
    await assert.rejects(acquireDataFolder(folder), new RegExp(`in use by process ${other.pid}`));
    await other.kill();
    await assertFree();
  });

  it('takes over an empty or invalid lock', async () => {
    for (const content of ['', '\0\0\0', '0', '-1']) {
      await leaveLock(content);
      await assertFree();
    }
  });

  it('gives a stale lock to exactly one of many processes', async () => {
    const others = Array.from({ length: 3 }, () => startLockingProcess());
    for (const other of others) await other.lock(join(parent, `own-${other.pid}`));
    for (let round = 0; round < 40; round += 1) {
      folder = join(parent, `round-${round}`);
      await leaveLock(`${ended} 1 ${randomUUID()}`);
      const ownAttempts = Array.from({ length: 3 }, () =>
        acquireDataFolder(folder).then(() => 'taken', String),
      );
      const responses = await Promise.all([...others.map((other) => other.lock(folder)), ...ownAttempts]);
      const rejected = responses.filter((response) => response !== 'taken');
      assert.equal(rejected.length, responses.length - 1, responses.join('\n'));
      for (const response of rejected) assert.match(response, /in use by process \d+/);
    }
    for (const other of others) await other.kill();
  });

  it('can be locked after a process was killed during a takeover', async () => {
    await leaveLock(`${ended} 1 ${randomUUID()}`);
    const script = `import fs from 'node:fs/promises';
      import { syncBuiltinESMExports } from 'node:module';
      fs.rename = () => process.kill(process.pid, 'SIGKILL');
      syncBuiltinESMExports();`;
    assert.equal(await startLockingProcess(script).lock(folder), 'ended');
    assert.equal((await readdir(folder)).length, 3, 'lock, takeover lock and lock content');
    const { release } = await acquireDataFolder(folder);
    await assert.rejects(acquireDataFolder(folder), /in use/);
    await release();
    assert.equal(await dataFolderUser(folder), undefined);
  });

  it('rejects a folder of another engine version with exit code 78 and changes nothing', async () => {
    await mkdir(folder);
    await writeFile(join(folder, 'engine-version'), '17\n');
    await assert.rejects(acquireDataFolder(folder), (error) => {
      assert.ok(error instanceof StartupError);
      assert.equal(error.exitCode, 78);
      assert.match(
        error.message,
        /^.*was written by PostgreSQL 17, but this version uses 18\. .*npm run reset$/,
      );
      return true;
    });
    assert.deepEqual(await readdir(folder), ['engine-version']);
    assert.equal(await readFile(join(folder, 'engine-version'), 'utf8'), '17\n');
  });

  it('throws if the path is a file or below a file', async () => {
    await writeFile(folder, 'precious');
    for (const path of [folder, join(folder, 'below')]) {
      await assert.rejects(acquireDataFolder(path), {
        name: 'StartupError',
        message: `${path} is not a folder. Set DATA_DIR to a folder`,
      });
    }
    assert.equal(await readFile(folder, 'utf8'), 'precious');
  });

  it('throws if the folder is not writable', posix, async () => {
    await chmod(parent, 0o555);
    // Root can write anywhere, so the test switches to another user.
    const isRoot = process.getuid?.() === 0;
    if (isRoot) process.seteuid?.('nobody');
    try {
      await assert.rejects(acquireDataFolder(folder), {
        name: 'StartupError',
        message: `${folder} is not writable. Grant this user write access, or set DATA_DIR to another folder`,
      });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
    await chmod(parent, 0o755);
    assert.deepEqual(await readdir(parent), []);
  });

  describe('permissions of other users', posix, () => {
    let dataDir: string;

    beforeEach(async () => {
      await chmod(parent, 0o755);
      dataDir = join(parent, 'data');
      folder = join(dataDir, 'user-service');
    });

    async function modeOf(path: string): Promise<string> {
      return ((await stat(path)).mode & 0o7777).toString(8);
    }

    /**
     * Creates a folder with the default modes of earlier versions and a database file. Returns the path of that file.
     */
    async function leaveOpenFolder(): Promise<string> {
      const wal = join(folder, 'files', 'pg_wal', '000000010000000000000001');
      await mkdir(dirname(wal), { recursive: true });
      await writeFile(wal, 'password hashes');
      await writeFile(join(folder, 'engine-version'), '18\n');
      await chmod(wal, 0o666);
      for (const path of [dirname(wal), dirname(dirname(wal)), folder, dataDir]) await chmod(path, 0o755);
      return wal;
    }

    /**
     * Returns the content of a file as read by another user; undefined if access is denied or this process cannot
     * switch users.
     */
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

    it('are not granted for new folders, regardless of the umask', async () => {
      const umask = process.umask(0);
      try {
        await (await acquireDataFolder(folder)).release();
      } finally {
        process.umask(umask);
      }
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['700', '700']);
    });

    it('are removed from an existing data folder', async () => {
      const wal = await leaveOpenFolder();
      if (process.getuid?.() === 0) assert.equal(await readAsNobody(wal), 'password hashes');
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['700', '700']);
      assert.equal(await readAsNobody(wal), undefined);
      assert.equal(await readFile(wal, 'utf8'), 'password hashes');
    });

    it('are kept for a parent folder with other files', async () => {
      const wal = await leaveOpenFolder();
      await writeFile(join(dataDir, 'thesis.txt'), 'public');
      await chmod(join(dataDir, 'thesis.txt'), 0o644);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['755', '700']);
      assert.equal(await readAsNobody(wal), undefined);
    });

    it('are kept for a folder with the sticky bit', async () => {
      await mkdir(dataDir);
      await chmod(dataDir, 0o1777);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(dataDir), await modeOf(folder)], ['1777', '700']);
    });

    it('are kept for the target of a linked parent folder', async () => {
      await mkdir(join(parent, 'disk'));
      await chmod(join(parent, 'disk'), 0o755);
      await symlink('disk', dataDir);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual([await modeOf(join(parent, 'disk')), await modeOf(folder)], ['755', '700']);
    });

    it('prevent the use of a data folder that links to an accessible folder', async () => {
      const elsewhere = join(parent, 'elsewhere');
      await mkdir(elsewhere);
      await mkdir(dataDir);
      await chmod(elsewhere, 0o750);
      await symlink(elsewhere, folder);
      await assertRefused(
        folder,
        /user-service is a symbolic link to .*elsewhere, which other users can access\. Run chmod 700/,
      );
      assert.deepEqual([await modeOf(elsewhere), await readdir(elsewhere)], ['750', []]);
      await chmod(elsewhere, 0o700);
      await (await acquireDataFolder(folder)).release();
      assert.deepEqual(await readdir(elsewhere), ['engine-version']);
    });

    it('prevent the use of an accessible folder with other files', async () => {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'thesis.txt'), 'public');
      await chmod(folder, 0o755);
      await assertRefused(folder, /user-service is accessible to other users and contains thesis\.txt, so/);
      assert.deepEqual([await modeOf(folder), await readdir(folder)], ['755', ['thesis.txt']]);
      await chmod(folder, 0o700);
      await (await acquireDataFolder(folder)).release();
    });

    const root = { skip: process.getuid?.() !== 0 && 'requires root' };
    it('prevent the use of a folder that another user owns', root, async () => {
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

  describe('removal', () => {
    it('removes the folder regardless of its engine version and stale locks', async () => {
      await leaveLock(`${ended} 1 ${randomUUID()}`);
      await mkdir(join(folder, 'files', 'base'), { recursive: true });
      await writeFile(join(folder, 'engine-version'), '17\n');
      await writeFile(join(folder, `lock.${randomUUID()}`), '');
      const locked = await acquireForRemoval(folder);
      await assert.rejects(acquireDataFolder(folder), /in use/);
      await locked?.remove();
      assert.deepEqual(await readdir(parent), []);
    });

    it('returns undefined if the folder does not exist', async () => {
      assert.equal(await acquireForRemoval(folder), undefined);
      assert.equal(await acquireForRemoval(join(parent, 'no', 'such', 'folder')), undefined);
    });

    it('keeps the folder usable after release', async () => {
      await mkdir(folder);
      await writeFile(join(folder, 'engine-version'), '18\n');
      await (await acquireForRemoval(folder))?.release();
      await assertFree();
    });

    it('is rejected while a process uses the folder', async () => {
      const { release } = await acquireDataFolder(folder);
      await assert.rejects(acquireForRemoval(folder), /in use by process/);
      await release();
    });

    it('is rejected for another folder, which is not changed', async () => {
      await mkdir(join(folder, 'files'), { recursive: true });
      await assert.rejects(acquireForRemoval(folder), {
        name: 'StartupError',
        message: `${folder} is not a data folder of a service: it does not contain engine-version. Nothing was deleted`,
      });
      await writeFile(join(folder, 'engine-version'), '18\n');
      await writeFile(join(folder, 'thesis.txt'), 'precious');
      await assert.rejects(acquireForRemoval(folder), /user-service is not .* it contains thesis\.txt\./);
      assert.deepEqual((await readdir(folder)).sort(), ['engine-version', 'files', 'thesis.txt']);
    });

    it('is rejected for a file or link', async () => {
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

/** Returns the start time of a process in ticks since boot (proc_pid_stat(5)). */
async function startOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}
