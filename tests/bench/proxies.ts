/** A running proxy in front of the upstream. */
export interface RunningProxy {
  readonly name: string;
  readonly version: string;
  /** Loopback port that the proxy listens on. */
  readonly port: number;
  readonly pid: number;
  stop(): Promise<unknown>;
}

/** Options for starting a proxy. */
export interface ProxyOptions {
  /** Loopback port that the upstream listens on. */
  readonly upstreamPort: number;
  /** Folder for configuration files; the caller removes it. */
  readonly folder: string;
}
