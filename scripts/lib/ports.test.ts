import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it } from 'node:test';
import { freePort, freePorts } from '../../packages/chassis/testing/port.ts';
import { requireFreePorts } from './ports.ts';

const planned = (port: number, variable = 'ZERDA_GATEWAY_PORT') => ({
  service: 'gateway' as const,
  port,
  variable,
});

describe('port check', () => {
  it('accepts free ports and leaves them free', async () => {
    const ports = await freePorts(2);
    assert.equal(new Set(ports).size, 2);
    await requireFreePorts(
      '127.0.0.1',
      ports.map((port) => planned(port)),
    );
    await requireFreePorts(
      '127.0.0.1',
      ports.map((port) => planned(port)),
    );
  });

  it('reports service, port and variable of a port in use in one line', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      await assert.rejects(requireFreePorts('127.0.0.1', [planned(port)]), (error: Error) => {
        assert.equal(error.name, 'StartupError');
        assert.match(error.message, new RegExp(`gateway ${port} \\(ZERDA_GATEWAY_PORT: in use\\)`));
        assert.match(error.message, /Stop the process .* or set the variable to a free port\.$/);
        assert.equal(error.message.includes('\n'), false);
        return true;
      });
    } finally {
      server.close();
    }
  });

  it('rejects the same port for two services', async () => {
    const port = await freePort();
    await assert.rejects(
      requireFreePorts('127.0.0.1', [planned(port), planned(port, 'ZERDA_GATEWAY_MANAGEMENT_PORT')]),
      /another service uses it\. Set ZERDA_GATEWAY_PORT|another service uses it\. Set ZERDA_GATEWAY_MANAGEMENT_PORT/,
    );
  });
});
