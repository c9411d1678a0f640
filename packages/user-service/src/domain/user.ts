import type { UserRole } from '@zerda/contracts/user-service/users';

/** A user without credentials. */
export interface User {
  readonly id: number;
  readonly name: string;
  readonly email: string;
  readonly role: UserRole;
  /** Incremented by each change. */
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** Authority for writing a user. */
export interface Authority {
  /**
   * Id of the admin who sent the request. The transaction locks and reads the admin, because an access token can outlive the role.
   * Undefined if the role needs no check: users change themselves, or an external issuer assigns the roles.
   */
  readonly byAdmin?: number | undefined;
}

/** Authority for writing a user, and what the transaction writes besides. */
export interface WriteOptions extends Authority {
  /** Hash of a new password. Setting it ends all sessions of the user. */
  readonly passwordHash?: string | undefined;
}
