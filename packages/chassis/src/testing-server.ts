import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

/** A program that tests start as a server, under one of several names. */
export interface ServerProgram {
  /** What tests call it. */
  readonly title: string;
  /** Names of programs that will do. */
  readonly names: readonly string[];
  /** Variable that makes its absence a failure when it is 1. */
  readonly required: string;
}

/** Path of a program: on the PATH, or where Debian puts servers, which is not on everybody's PATH; undefined where there is none. */
export async function findServer({ names }: Pick<ServerProgram, 'names'>): Promise<string | undefined> {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin']) {
    const there: string[] = await readdir(folder).catch(() => []);
    const found = names.find((name) => there.includes(name));
    if (found !== undefined) return join(folder, found);
  }
  return undefined;
}

/** Runs a suite that needs a server. Where none is installed it is a skipped test that says so, or a failure when it is required. */
export async function describeWithServer(
  program: ServerProgram,
  title: string,
  suite: () => void,
): Promise<void> {
  const full = `${title} (${program.title})`;
  const names = program.names.join(' or ');
  if ((await findServer(program)) !== undefined) {
    describe(full, suite);
  } else if (process.env[program.required] === '1') {
    it(full, () => {
      throw new Error(`${program.required}=1, but there is no ${names} on the PATH`);
    });
  } else {
    it(`${full}: skipped, no ${names} was found`, { skip: true }, () => undefined);
  }
}

/** Resolves once a port of this machine takes connections. @throws Error when it does not within ten seconds */
export async function accepting(port: number): Promise<void> {
  const giveUpAt = performance.now() + 10_000;
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await wait(25);
    } finally {
      socket.destroy();
    }
  }
}
