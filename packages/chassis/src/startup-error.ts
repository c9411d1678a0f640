/** Something that the person who starts the service must put right; printed as its message alone, without a stack. */
export class StartupError extends Error {
  /** 78 (`EX_CONFIG` of sysexits.h) for wrong configuration, 1 for a resource that cannot be had. */
  readonly exitCode: 1 | 78;

  constructor(message: string, exitCode: 1 | 78 = 1, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartupError';
    this.exitCode = exitCode;
  }
}
