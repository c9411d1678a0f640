import { services } from './services.ts';

/** ANSI colors of the services in their order: cyan, magenta, yellow, green, blue. */
const colorCodes = [36, 35, 33, 32, 34];
const colors = new Map(services.map(({ name }, index) => [name, colorCodes[index % colorCodes.length]]));
const width = Math.max(...services.map(({ name }) => name.length));

/** Returns whether to print colors: the stream is a terminal and NO_COLOR is not set (https://no-color.org). */
export function wantsColor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && !env.NO_COLOR;
}

/** Returns a function that prefixes lines with the name of their service. */
export function createPrefix(color: boolean): (service: string, line: string) => string {
  return (service, line) => {
    const name = service.padEnd(width);
    const code = colors.get(service);
    return `${color && code ? `\u001b[${code}m${name}\u001b[0m` : name} | ${line}`;
  };
}

/** Returns log variables for the services whose piped output ends up in this stream. */
export function logVariables(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    LOG_FORMAT: env.LOG_FORMAT || (stream.isTTY ? 'pretty' : 'json'),
    ...(wantsColor(stream, env) ? { FORCE_COLOR: '1' } : {}),
  };
}
