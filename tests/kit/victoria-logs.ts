import { join } from 'node:path';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import {
  type ServerProcess,
  type ServerProgram,
  startServer,
} from '../../packages/chassis/testing/server.ts';

/** VictoriaLogs, which tests use if it is installed. */
export const victoriaLogs = {
  title: 'VictoriaLogs',
  names: ['victoria-logs'],
  required: 'REQUIRE_VICTORIA_LOGS',
} as const satisfies ServerProgram;

/** Starts VictoriaLogs on a free port. @throws StartupError if it is not installed */
export function startVictoriaLogs(): Promise<ServerProcess> {
  return startServer(victoriaLogs, {
    url: (port) => `http://127.0.0.1:${port}`,
    prepare: ({ folder, port }) => [
      `-storageDataPath=${join(folder, 'data')}`,
      `-httpListenAddr=127.0.0.1:${port}`,
    ],
    connect: (url) => sendRequest(`${url}/health`),
  });
}
