/** A response body size that every proxy is measured with. */
export interface Body {
  readonly title: string;
  /** Path that the gateway forwards and the upstream serves this body on. */
  readonly path: string;
  /** Length of the body in bytes. */
  readonly bytes: number;
  /** Number of client connections. Large bodies use few, so that the bytes in flight fit into memory. */
  readonly connections: number;
}

export const bodies = [
  { title: '0.2 KiB', path: '/api/users/1', bytes: 205, connections: 64 },
  { title: '100 KiB', path: '/api/users/2', bytes: 100 * 1024, connections: 64 },
  { title: '10 MiB', path: '/api/users/3', bytes: 10 * 1024 * 1024, connections: 8 },
] as const satisfies readonly Body[];

/** Route name of these paths in the gateway's log lines and metrics. */
export const bodyRoute = '/api/users/{id}';
