/** The time by which the response must be sent, on the monotonic clock of this process. */
export class Deadline {
  private endsAt: number;

  private constructor(endsAt: number) {
    this.endsAt = endsAt;
  }

  /** Returns the deadline `ms` milliseconds from now. */
  static after(ms: number): Deadline {
    return new Deadline(performance.now() + ms);
  }

  /** Extends the deadline by `ms` milliseconds: the time that the client took to send its request. */
  extend(ms: number): void {
    this.endsAt += ms;
  }

  /** Returns the remaining time in whole milliseconds; 0 if the deadline has passed. */
  remainingMs(): number {
    return Math.max(0, Math.floor(this.endsAt - performance.now()));
  }

  get expired(): boolean {
    return this.remainingMs() === 0;
  }
}
