import { fileURLToPath } from 'node:url';
import { freePorts } from './ports.ts';
import type { ProcessPlan } from './service-process.ts';

export interface FixturePlan extends ProcessPlan {
  readonly url: string;
}

/** Plans of `fixture-service.mjs` on free ports, one for each mode; `undefined` is a service that behaves. */
export async function fixturePlans(...modes: (string | undefined)[]): Promise<FixturePlan[]> {
  const ports = await freePorts(modes.length);
  return modes.map((mode, index) => {
    const name = `service-${index + 1}`;
    const url = `http://127.0.0.1:${ports[index]}`;
    return {
      name,
      file: fileURLToPath(new URL('fixture-service.mjs', import.meta.url)),
      env: { ...process.env, PORT: String(ports[index]), MODE: mode ?? '', NAME: name },
      readyUrl: `${url}/`,
      url,
    };
  });
}

export async function textOf(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: 'close' } });
  return response.text();
}
