import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import { root, services } from '../../scripts/lib/services.ts';
import { type RunningScript, startScript } from '../kit/command.ts';

/** A service that returns its greeting and its process id. */
const program = `
import { createServer } from 'node:http';
import { greeting } from './greeting.ts';
const { PORT, MANAGEMENT_PORT, HOST } = process.env;
for (const port of [PORT, MANAGEMENT_PORT]) {
  createServer((_request, response) => response.end(greeting + ' from ' + process.pid)).listen(Number(port), HOST);
}
process.once('SIGTERM', () => process.exit(0));
`;

/** Runs the scripts in a temporary folder with three small services. */
describe('npm run dev', { skip: process.platform === 'win32' }, () => {
  let folder: string;
  let dev: RunningScript;
  const urls: string[] = [];

  const writeGreeting = (name: string, source: string) =>
    writeFile(join(folder, 'packages', name, 'src', 'greeting.ts'), source);
  const readGreetings = () => Promise.all(urls.map(async (url) => (await sendRequest(url)).text));

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'zerda-dev-'));
    const chassis = join('packages', 'chassis', 'src');
    await cp(join(root, 'scripts'), join(folder, 'scripts'), { recursive: true });
    await cp(join(root, 'package.json'), join(folder, 'package.json'));
    await cp(join(root, chassis), join(folder, chassis), { recursive: true });
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    const ports = await freePorts(services.length * 2);
    const env: NodeJS.ProcessEnv = {};
    for (const [index, { name, variable }] of services.entries()) {
      await mkdir(join(folder, 'packages', name, 'src'), { recursive: true });
      const manifest = join('packages', name, 'package.json');
      await cp(join(root, manifest), join(folder, manifest));
      await writeFile(join(folder, 'packages', name, 'src', 'main.ts'), program);
      await writeGreeting(name, "export const greeting = 'hello';\n");
      env[`ZERDA_${variable}_PORT`] = String(ports[index * 2]);
      env[`ZERDA_${variable}_MANAGEMENT_PORT`] = String(ports[index * 2 + 1]);
      urls.push(`http://127.0.0.1:${ports[index * 2]}`);
    }
    dev = startScript('dev', env, folder);
    for (const { name } of services) await dev.line(new RegExp(`${name} +\\| ready in`));
  });

  after(async () => {
    dev.kill('SIGTERM');
    await dev.exited;
    await rm(folder, { recursive: true, force: true });
  });

  it('restarts only the service whose bundle changed', async () => {
    const [users, orders, gateway] = await readGreetings();
    const firstLine = dev.lines.length;
    await writeGreeting('order-service', "export const greeting = 'good day';\n");
    await dev.line(/order-service +\| ready in/, firstLine);
    const [usersNow, ordersNow, gatewayNow] = await readGreetings();
    assert.match(ordersNow ?? '', /^good day from/);
    assert.notEqual(ordersNow, orders);
    assert.deepEqual([usersNow, gatewayNow], [users, gateway]);
  });

  it('keeps the services running when a change does not compile, and restarts after the next one that does', async () => {
    const before = await readGreetings();
    const firstLine = dev.lines.length;
    await writeGreeting('gateway', 'export const greeting = ;\n');
    await dev.line(/gateway +\| build failed/, firstLine);
    assert.deepEqual(await readGreetings(), before);
    await writeGreeting('gateway', "export const greeting = 'fixed';\n");
    await dev.line(/gateway +\| ready in/, firstLine);
    assert.match((await readGreetings())[2] ?? '', /^fixed/);
  });

  it('waits for the next change when a service crashes', async () => {
    const firstLine = dev.lines.length;
    await writeGreeting('user-service', "process.exit(7);\nexport const greeting = 'never';\n");
    await dev.line(/user-service +\| ended with exit code 7/, firstLine);
    await writeGreeting('user-service', "export const greeting = 'back';\n");
    await dev.line(/user-service +\| ready in/, firstLine);
    assert.match((await readGreetings())[0] ?? '', /^back/);
  });

  it('exits with code 0 on SIGTERM and stops all services', async () => {
    dev.kill('SIGTERM');
    assert.equal(await dev.exited, 0);
    await assert.rejects(readGreetings());
  });
});
