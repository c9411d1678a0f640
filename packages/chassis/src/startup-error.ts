/** An error that the operator must fix before the service can start. Only its message is printed, without a stack. */
export class StartupError extends Error {
  /** Exit code of the process: 78 (`EX_CONFIG` of sysexits.h) for invalid configuration, 1 for an unavailable resource. */
  readonly exitCode: 1 | 78;

  constructor(message: string, exitCode: 1 | 78 = 1, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartupError';
    this.exitCode = exitCode;
  }
}
