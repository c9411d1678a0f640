/** A proxy that runs, in front of the upstream. */
export interface RunningProxy {
  readonly name: string;
  readonly version: string;
  /** Port of the loopback that it listens on. */
  readonly port: number;
  readonly pid: number;
  stop(): Promise<unknown>;
}

/** What each proxy is started with. */
export interface Surroundings {
  /** Port of the loopback that the upstream listens on. */
  readonly upstreamPort: number;
  /** Folder for configuration; the caller removes it. */
  readonly folder: string;
}
