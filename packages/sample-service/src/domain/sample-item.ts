/** Sample item of a user. */
export interface SampleItem {
  readonly id: number;
  readonly userId: number;
  readonly name: string;
  /** Incremented by each change. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
