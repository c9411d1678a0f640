import { z } from 'zod';
import { pageOf, success } from '../protocol/envelope.ts';
import { defineOperation } from '../protocol/operation.ts';
import { pageQuery } from '../protocol/page.ts';
import { count, id, idText, instant, line } from '../protocol/values.ts';
import { existingPassword, newPassword } from './passwords.ts';

/** Roles: an admin can access every resource, a user only their own. */
export const userRoles = ['admin', 'user'] as const;

export const userRole = z.enum(userRoles);

export type UserRole = z.infer<typeof userRole>;

/** Characters of an atom (RFC 5322, section 3.2.3). */
const atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
/** Label of a domain name: letters, digits and inner hyphens (RFC 5321, section 4.1.2). */
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
/** Top-level domain: starts with a letter, such as `xn--p1ai` (RFC 5890, section 2.3.2.1). */
const topLevel = '[a-zA-Z][a-zA-Z0-9-]{0,61}[a-zA-Z0-9]';
const dotString = new RegExp(`^${atom}(?:\\.${atom})*@(?:${label}\\.)+${topLevel}$`);

/**
 * An e-mail address, converted to lower case: a dot-string, `@` and a domain name, with internationalized domain names in ASCII.
 * The local part has at most 64 octets, the address at most 254 (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3).
 * Other forms are rejected: quoted strings, which section 4.1.2 advises against, address literals, and SMTPUTF8 names (RFC 6531).
 */
export const email = z
  .email({ pattern: dotString })
  .max(254)
  .refine((address) => address.indexOf('@') <= 64, 'must have at most 64 characters before the @')
  .toLowerCase();

const name = line(100);

/** A user as the APIs return it. */
export const user = z
  .strictObject({
    id,
    name: z.string(),
    email: z.string(),
    role: userRole,
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'User', description: 'A user account. The password is never returned.' });

export type User = z.infer<typeof user>;

/** Request body of `createUser`. */
export const newUser = z
  .strictObject({
    name: name.describe('Full name, 1 to 100 characters.'),
    email: email.describe('Unique across all users, ignoring letter case.'),
    role: userRole.default('user').describe('Only admins can set a role other than `user`.'),
    password: newPassword.optional().describe('A user without a password cannot log in.'),
  })
  .meta({
    id: 'NewUser',
    description: 'Request body that creates a user. `role` and `password` are optional.',
    examples: [{ name: 'John Doe', email: 'john@example.com' }],
  });

/** A new user without the password, which is stored separately. */
export type NewUser = Omit<z.infer<typeof newUser>, 'password'>;

/** Request body of `updateUser`: the members to change, at least one. */
export const userChange = z
  .strictObject({
    name: name.optional(),
    email: email.optional(),
    role: userRole.optional().describe('Only admins can change the role.'),
    password: newPassword.optional().describe('A new password ends all sessions of the user.'),
    current_password: existingPassword
      .optional()
      .describe(
        'Required if users change their own password or e-mail address. Admins do not need it for other users.',
      ),
  })
  .refine(
    ({ current_password: _, ...change }) => Object.keys(change).length > 0,
    'must change at least one member',
  )
  .meta({
    id: 'UserChange',
    description: 'Request body that changes a user. Absent members keep their value.',
    minProperties: 1,
    examples: [{ name: 'John Q. Doe' }],
  });

/** Changes of a user without the passwords, which are stored separately. */
export type UserChange = Omit<z.infer<typeof userChange>, 'password' | 'current_password'>;

const userStats = z
  .strictObject({ users: count.describe('Number of users.') })
  .meta({ id: 'UserStats', description: 'Totals of user-service.' });

/** Health of user-service. */
export const userServiceHealth = z
  .strictObject({
    service: z.literal('user-service'),
    status: z.literal('healthy'),
    users_count: count
      .optional()
      .describe('Number of users; present for admins or if authentication is off.'),
  })
  .meta({
    id: 'UserServiceHealth',
    description: 'Health of user-service. The service and its database responded.',
  });

export type UserServiceHealth = z.infer<typeof userServiceHealth>;

const tag = 'Users';
const byId = z.strictObject({ id: idText.describe('Id of the user.') });

/** The API of user-service. */
export const userOperations = {
  userHealth: defineOperation({
    id: 'userHealth',
    method: 'get',
    path: '/api/users/health',
    access: 'optional',
    summary: 'Health of user-service',
    description:
      'Queries the database and returns 503 if it does not respond. Works without a token; admins also get the number of users.',
    tag,
    response: {
      status: 200,
      description: 'The service and its database respond.',
      schema: success(userServiceHealth),
    },
    problems: [],
  }),
  userStats: defineOperation({
    id: 'userStats',
    method: 'get',
    path: '/api/users/stats',
    access: 'admin',
    summary: 'Number of users',
    description:
      'Returns a counter that every write updates, so the cost does not depend on the number of users.',
    tag,
    response: { status: 200, description: 'The number of users.', schema: success(userStats) },
    problems: [],
  }),
  listUsers: defineOperation({
    id: 'listUsers',
    method: 'get',
    path: '/api/users',
    access: 'user',
    summary: 'List users',
    description:
      'Returns users in ascending order of id, one page at a time. Users see only themselves; admins see all users.',
    tag,
    query: z.strictObject({ ...pageQuery, role: userRole.optional().describe('Only users with this role.') }),
    response: {
      status: 200,
      description: 'One page of users in ascending order of id.',
      schema: pageOf(user),
    },
    problems: [],
  }),
  getUser: defineOperation({
    id: 'getUser',
    method: 'get',
    path: '/api/users/{id}',
    access: 'user',
    summary: 'Get a user',
    description:
      'Users can get only themselves; admins can get any user. Supports conditional requests with the `ETag` of an earlier response.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The user.', schema: success(user), etag: true },
    problems: ['user-not-found'],
  }),
  createUser: defineOperation({
    id: 'createUser',
    method: 'post',
    path: '/api/users',
    access: 'optional',
    audit: 'user.create',
    summary: 'Create a user',
    description:
      'Requires the role admin unless sign-up is open. With open sign-up, requests without a token create users with the role `user`.',
    tag,
    body: newUser,
    accepts: { idempotencyKey: true },
    response: {
      status: 201,
      description: 'The created user.',
      schema: success(user),
      etag: true,
      location: true,
    },
    problems: ['email-taken', 'login-throttled', 'login-overloaded'],
  }),
  updateUser: defineOperation({
    id: 'updateUser',
    method: 'put',
    path: '/api/users/{id}',
    access: 'user',
    audit: 'user.update',
    summary: 'Change a user',
    description:
      'Absent members keep their value. Users who change their own password or e-mail address must send `current_password`; these changes are limited per hour and per day. A new password ends all sessions of the user and invalidates their refresh tokens.',
    tag,
    params: byId,
    body: userChange,
    accepts: { preconditions: true },
    response: { status: 200, description: 'The changed user.', schema: success(user), etag: true },
    problems: ['user-not-found', 'email-taken', 'login-throttled', 'login-overloaded'],
  }),
  deleteUser: defineOperation({
    id: 'deleteUser',
    method: 'delete',
    path: '/api/users/{id}',
    access: 'user',
    audit: 'user.delete',
    summary: 'Delete a user',
    description:
      'Deletes the account, its password and its sessions. Order-service then cancels the pending and processing orders of the user.',
    tag,
    params: byId,
    accepts: { preconditions: true },
    response: {
      status: 200,
      description: 'The user was deleted.',
      schema: success(z.strictObject({ message: z.literal('User deleted') })),
    },
    problems: ['user-not-found'],
  }),
} as const;
