import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { freePorts } from '../../scripts/lib/ports.ts';
import { root, services } from '../../scripts/lib/services.ts';
import { type RunningScript, startScript } from './lib/command.ts';
import { call } from './lib/http.ts';

/** A service that answers its greeting and its process id. */
const program = `
import { createServer } from 'node:http';
import { greeting } from './greeting.ts';
const { PORT, MANAGEMENT_PORT, HOST } = process.env;
for (const port of [PORT, MANAGEMENT_PORT]) {
  createServer((_request, response) => response.end(greeting + ' from ' + process.pid)).listen(Number(port), HOST);
}
process.once('SIGTERM', () => process.exit(0));
`;

/** The scripts in a temporary folder, with three small services in place of the real ones. */
describe('npm run dev', { skip: process.platform === 'win32' }, () => {
  let folder: string;
  let dev: RunningScript;
  const urls: string[] = [];

  const greet = (name: string, source: string) =>
    writeFile(join(folder, 'packages', name, 'src', 'greeting.ts'), source);
  const answers = () => Promise.all(urls.map(async (url) => (await call(url)).text));

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
      await writeFile(join(folder, 'packages', name, 'src', 'main.ts'), program);
      await greet(name, "export const greeting = 'hello';\n");
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

  it('starts again the one service whose bundle a change alters', async () => {
    const [users, orders, gateway] = await answers();
    const seen = dev.lines.length;
    await greet('order-service', "export const greeting = 'good day';\n");
    await dev.line(/order-service +\| ready in/, seen);
    const [usersNow, ordersNow, gatewayNow] = await answers();
    assert.match(ordersNow ?? '', /^good day from/);
    assert.notEqual(ordersNow, orders);
    assert.deepEqual([usersNow, gatewayNow], [users, gateway]);
  });

  it('leaves what runs alone when a change does not compile, and goes on with the next that does', async () => {
    const before = await answers();
    const seen = dev.lines.length;
    await greet('gateway', 'export const greeting = ;\n');
    await dev.line(/gateway +\| not built/, seen);
    assert.deepEqual(await answers(), before);
    await greet('gateway', "export const greeting = 'mended';\n");
    await dev.line(/gateway +\| ready in/, seen);
    assert.match((await answers())[2] ?? '', /^mended/);
  });

  it('waits for the next change when a service crashes', async () => {
    const seen = dev.lines.length;
    await greet('user-service', "process.exit(7);\nexport const greeting = 'never';\n");
    await dev.line(/user-service +\| ended with exit code 7/, seen);
    await greet('user-service', "export const greeting = 'back';\n");
    await dev.line(/user-service +\| ready in/, seen);
    assert.match((await answers())[0] ?? '', /^back/);
  });

  it('ends with exit code 0 and leaves no service behind', async () => {
    dev.kill('SIGTERM');
    assert.equal(await dev.exited, 0);
    await assert.rejects(answers());
  });
});
