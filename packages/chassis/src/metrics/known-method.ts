/** Value for every other method in labels and spans (OpenTelemetry semantic conventions). */
export const otherMethod = '_OTHER';

const known: ReadonlySet<string | undefined> = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

/** Returns a method of HTTP, undefined for any other. Clients can send any method, so others are neither labels nor names of spans. */
export function knownMethod(method: string | undefined): string | undefined {
  return known.has(method) ? method : undefined;
}
