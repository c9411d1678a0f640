import type { ServiceName } from './services.ts';

const colours: Record<ServiceName, number> = { 'user-service': 36, 'order-service': 35, gateway: 33 };
const width = Math.max(...Object.keys(colours).map((name) => name.length));

/** Whether output may carry colours: a terminal, and not forbidden by NO_COLOR (https://no-color.org). */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && !env.NO_COLOR;
}

/** Returns the function that puts a service's name in front of its lines. */
export function createPrefix(colour: boolean): (service: string, line: string) => string {
  return (service, line) => {
    const name = service.padEnd(width);
    const code = colours[service as ServiceName];
    return `${colour && code ? `\u001b[${code}m${name}\u001b[0m` : name} | ${line}`;
  };
}

/** What the services need to know of the terminal that their piped output ends up in. */
export function logVariables(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return {
    LOG_FORMAT: env.LOG_FORMAT || (stream.isTTY ? 'pretty' : 'json'),
    ...(wantsColour(stream, env) ? { FORCE_COLOR: '1' } : {}),
  };
}
