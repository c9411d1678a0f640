import { execFile } from 'node:child_process';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { ServicePlan } from './services.ts';

/** How a command ended at a service. */
export interface CommandRun {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Does at a service, whose bundle is there, what `node main.mjs <words>` does in its image. @throws StartupError when it cannot be run */
export function runServiceCommand(
  { file, env }: Pick<ServicePlan, 'file' | 'env'>,
  words: readonly string[],
): Promise<CommandRun> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--enable-source-maps', file, ...words],
      { env, maxBuffer: 256 * 1024 * 1024 },
      (error, output, errors) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number') resolve({ code, output, errors });
        else reject(new StartupError(`the command could not be run: ${error?.message}`));
      },
    );
  });
}
