import { execFile } from 'node:child_process';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import type { ServicePlan } from './services.ts';

/** Result of a command of a service. */
export interface CommandRun {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

/** Returns the service that the first argument names, or all services, and the other arguments. */
export function selectServices(
  plans: readonly ServicePlan[],
  args: readonly string[],
): { readonly chosen: readonly ServicePlan[]; readonly rest: readonly string[] } {
  const named = plans.filter(({ name }) => name === args[0]);
  return named.length > 0 ? { chosen: named, rest: args.slice(1) } : { chosen: plans, rest: args };
}

/**
 * Runs the bundle of a service with arguments, like `node main.mjs <args>` in its image. The bundle must exist.
 * @throws StartupError when the process cannot be run
 */
export function runServiceCommand(
  { file, env }: Pick<ServicePlan, 'file' | 'env'>,
  args: readonly string[],
): Promise<CommandRun> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['--enable-source-maps', file, ...args],
      { env, maxBuffer: 256 * 1024 * 1024 },
      (error, output, errors) => {
        const code = error === null ? 0 : error.code;
        if (typeof code === 'number') resolve({ code, output, errors });
        else reject(new StartupError(`The command could not be run: ${error?.message}`));
      },
    );
  });
}
