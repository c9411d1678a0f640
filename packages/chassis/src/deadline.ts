/** The moment at which nobody waits for the answer any more, on this process's monotonic clock. */
export class Deadline {
  private endsAt: number;

  private constructor(endsAt: number) {
    this.endsAt = endsAt;
  }

  /** The deadline `ms` milliseconds from now. */
  static after(ms: number): Deadline {
    return new Deadline(performance.now() + ms);
  }

  /** Moves it `ms` milliseconds later, for the time that the client took to send its request. */
  extend(ms: number): void {
    this.endsAt += ms;
  }

  /** Whole milliseconds that are left; 0 once it has passed. */
  remainingMs(): number {
    return Math.max(0, Math.floor(this.endsAt - performance.now()));
  }

  get expired(): boolean {
    return this.remainingMs() === 0;
  }
}
