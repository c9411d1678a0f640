/** Rolls a transaction back for an expected reason. It does not count as a failure of the database. */
export class Rollback extends Error {}
