/** One size of answer that every proxy passes on. */
export interface Body {
  readonly title: string;
  /** Path that the gateway forwards, and under which the upstream has this body. */
  readonly path: string;
  /** Length of the body in bytes. */
  readonly bytes: number;
  /** Client connections at once; few for large bodies, whose bytes would otherwise fill the memory of the machine. */
  readonly connections: number;
}

export const bodies = [
  { title: '0.2 KiB', path: '/api/users/1', bytes: 205, connections: 64 },
  { title: '100 KiB', path: '/api/users/2', bytes: 100 * 1024, connections: 64 },
  { title: '10 MiB', path: '/api/users/3', bytes: 10 * 1024 * 1024, connections: 8 },
] as const satisfies readonly Body[];

/** What log lines and metrics of the gateway call these paths. */
export const routeOfBodies = '/api/users/{id}';
