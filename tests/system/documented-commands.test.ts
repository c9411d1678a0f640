import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../packages/chassis/testing/wait.ts';
import { captureOutput } from '../../scripts/lib/child-process.ts';
import { comparableOutput, type DocumentedCommand, readCommands } from '../kit/documented-commands.ts';
import { type System, startSystem } from '../kit/system.ts';

/** Commands that start the system or need a cluster. */
const notRunHere = /\bnpm (ci|start|test|run)\b|\b(kind|kubectl|helm) /;
/**
 * The test repeats other commands until they print the documented output, as the text asks. A login too: user-service creates the first
 * admin after it has started.
 */
const writes = /curl .*(-X|-d) (?!.*\/api\/auth\/login)/;

for (const page of ['README.md', 'docs/tutorial.md']) {
  describe(`commands of ${page}`, { skip: process.platform === 'win32' }, () => {
    let system: System;
    let folder: string;

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'zerda-documented-'));
      system = await startSystem();
    });
    after(async () => {
      await system.close();
      await rm(folder, { recursive: true, force: true });
    });

    for (const documented of readCommands(page)) {
      const { line, command } = documented;
      if (command === 'AUTH=required npm start\n') {
        it(`line ${line} starts with authentication`, async () => {
          await system.close();
          system = await startSystem({ AUTH: 'required' });
        });
      } else if (!notRunHere.test(command)) {
        it(`line ${line} prints the documented output`, () => check(documented));
      }
    }

    async function check({ command, output }: DocumentedCommand): Promise<void> {
      const run = async () => {
        const stdout = await bash(command);
        if (output === undefined) return;
        const { language, text } = output;
        assert.deepEqual(comparableOutput(stdout, language), comparableOutput(text, language));
      };
      if (writes.test(command)) await run();
      else await eventually(run, 'the documented output', 60_000);
    }

    /** Runs a block with the ports and data of this system. Variables that it sets are set in later blocks too. */
    function bash(command: string): Promise<string> {
      const port = (url: string) => new URL(url).port;
      const adapted = command
        .replaceAll('$(lsof -ti tcp:8002 -s tcp:listen)', String(system.orders.pid))
        .replaceAll('localhost:8000', `localhost:${port(system.gateway.url)}`)
        .replaceAll('localhost:9090', `localhost:${port(system.gateway.managementUrl)}`)
        .replaceAll('localhost:9091', `localhost:${port(system.users.managementUrl)}`)
        .replaceAll('localhost:9092', `localhost:${port(system.orders.managementUrl)}`)
        .replaceAll('.data/', `${system.dataDir}/`);
      const variables = join(folder, 'variables');
      const script = `set -a; test ! -f ${variables} || . ${variables}\n${adapted}\nexport -p > ${variables}`;
      return captureOutput(['bash', '-c', script]);
    }
  });
}
