import {
  describeWithServer,
  type ServerProcess,
  type ServerProgram,
  startServer,
} from '@zerda/chassis/testing/server';

const valkey: ServerProgram = {
  title: 'Valkey',
  names: ['valkey-server', 'redis-server'],
  required: 'REQUIRE_VALKEY',
};

/** Starts a Valkey or Redis server without persistence. @throws StartupError if neither is installed */
export function startValkey(): Promise<ServerProcess> {
  return startServer(valkey, {
    url: (port) => `redis://127.0.0.1:${port}`,
    prepare: ({ folder, port }) => [
      '--bind',
      '127.0.0.1',
      '--port',
      String(port),
      '--dir',
      folder,
      '--save',
      '',
    ],
  });
}

/** Runs a suite that requires Valkey or Redis. If neither is installed, skips it, or fails with REQUIRE_VALKEY=1. */
export const describeOnValkey = describeWithServer(valkey);
