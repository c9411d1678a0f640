import type { z } from 'zod';
import type { commonVariables } from '../config/common-variables.ts';
import { StartupError } from '../startup-error.ts';
import { type OpenProcessOptions, openProcess, type ServiceProcess } from './open-process.ts';

type CommonVariables = ReturnType<typeof commonVariables>;
type ProcessOf<Shape extends CommonVariables> = ServiceProcess<Readonly<z.output<z.ZodObject<Shape>>>>;

export interface RunCommandOptions<Shape extends CommonVariables>
  extends Omit<OpenProcessOptions<Shape>, 'quiet'> {
  /** Command and its arguments. */
  readonly args: readonly string[];
  /** Opens the service and returns; it then runs until a signal. This is the default command. */
  readonly serve: (service: ProcessOf<Shape>) => Promise<void>;
  /** Applies all pending migrations; omitted by a service without a database. */
  readonly migrate?: (service: ProcessOf<Shape>) => Promise<unknown>;
  /** Further commands, by name. They take arguments, and standard output is reserved for their output. */
  readonly commands: Readonly<
    Record<string, (service: ProcessOf<Shape>, args: readonly string[]) => Promise<void>>
  >;
}

/**
 * Runs a service with the command in its arguments. After any command except `serve`, closes all resources.
 * @throws StartupError (78) for an unknown command or an invalid environment
 */
export async function runCommand<Shape extends CommonVariables>({
  args,
  serve,
  migrate,
  commands,
  ...options
}: RunCommandOptions<Shape>): Promise<void> {
  const [name = 'serve', ...rest] = args;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  const plainCommands = migrate === undefined ? ['serve'] : ['serve', 'migrate'];
  if (command === undefined && (rest.length > 0 || !plainCommands.includes(name))) {
    const names = [...plainCommands, ...Object.keys(commands)].join(', ');
    throw new StartupError(`Unknown command "${args.join(' ')}". Use one of: ${names}`, 78);
  }
  const service = openProcess({ ...options, quiet: command !== undefined });
  if (name === 'serve') return serve(service);
  await (command === undefined ? migrate?.(service) : command(service, rest));
  await service.lifecycle.shutdown();
}
