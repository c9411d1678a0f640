import { fileURLToPath } from 'node:url';
import { sendRequest } from '../../packages/chassis/testing/http.ts';
import { freePorts } from '../../packages/chassis/testing/port.ts';
import type { ProcessPlan } from '../lib/service-process.ts';

export interface FixturePlan extends ProcessPlan {
  readonly url: string;
}

/** Returns plans of `fixture-service.mjs` on free ports, one for each mode; `undefined` is a service without faults. */
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
  return (await sendRequest(url)).text;
}
