/** Expressions without data in a healthy system, each with the reason. */
export interface EmptyExpressions {
  readonly pattern: RegExp;
  readonly reason: string;
}

/** Optional servers of the test system. */
export interface OptionalServers {
  readonly postgres: boolean;
  readonly valkey: boolean;
}

/** Returns all expressions that may have no data while the system is healthy and under load. */
export function emptyExpressions({ postgres, valkey }: OptionalServers): readonly EmptyExpressions[] {
  return [
    { pattern: /\bALERTS\{/, reason: 'no alert fires' },
    { pattern: /\bprocess_memory_limit_bytes\b/, reason: 'the processes of the test have no memory limit' },
    { pattern: /unless count by .* offset 2m/, reason: 'a version is new for two minutes only' },
    ...(postgres ? [] : [{ pattern: /pool="database"/, reason: 'the embedded database has no pool' }]),
    ...(valkey ? [] : [{ pattern: /\brate_limits_shared\b/, reason: 'limits are shared only with Valkey' }]),
  ];
}
