import { bundle } from '../../scripts/lib/bundler.ts';
import { services } from '../../scripts/lib/services.ts';

let bundled: Promise<unknown> | undefined;

/** Bundles all services, once for all tests of a process. */
export async function bundleServices(): Promise<void> {
  bundled ??= bundle(services.map(({ name }) => name));
  await bundled;
}
