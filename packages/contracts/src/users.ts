import { z } from 'zod';
import { givenPassword, newPassword } from './passwords.ts';
import { pageOf, success } from './protocol/envelope.ts';
import { defineOperation } from './protocol/operation.ts';
import { pageQuery } from './protocol/page.ts';
import { count, id, idText, instant, line } from './protocol/values.ts';

/** What a user may do: everything, or what is their own. */
export const userRoles = ['admin', 'user'] as const;

export const userRole = z.enum(userRoles);

export type UserRole = z.infer<typeof userRole>;

/** Characters of an atom (RFC 5322, section 3.2.3). */
const atom = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+";
/** A part of a domain name, which the next two make longer: letters, digits, and hyphens within (RFC 5321, section 4.1.2). */
const label = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
/** The last part begins with a letter, as `xn--p1ai` does (RFC 5890, section 2.3.2.1). */
const topLevel = '[a-zA-Z][a-zA-Z0-9-]{0,61}[a-zA-Z0-9]';
const dotString = new RegExp(`^${atom}(?:\\.${atom})*@(?:${label}\\.)+${topLevel}$`);

/**
 * An e-mail address in lower case: letter case does not make another user. A dot-string at a domain name, with internationalized
 * domain names in ASCII. 64 octets before the `@` and 254 in all are the most (RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3). The other
 * forms are refused: quoted strings, which section 4.1.2 advises against, address literals, and names that need SMTPUTF8 (RFC 6531).
 */
export const email = z
  .email({ pattern: dotString })
  .max(254)
  .refine((address) => address.indexOf('@') <= 64, 'must have at most 64 characters before the @')
  .toLowerCase();

const name = line(100);

/** A user as every service shows them. */
export const user = z
  .strictObject({
    id,
    name: z.string(),
    email: z.string(),
    role: userRole,
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'User' });

export type User = z.infer<typeof user>;

/** What makes a user. */
export const newUser = z
  .strictObject({
    name: name.describe('Full name, 1 to 100 characters.'),
    email: email.describe('Unique over all users, whatever its letter case.'),
    role: userRole.default('user').describe('Set by admins only.'),
    password: newPassword.optional().describe('Without one the user cannot log in.'),
  })
  .meta({ id: 'NewUser', examples: [{ name: 'John Doe', email: 'john@example.com' }] });

/** What makes a user, without what nobody but the login has to know. */
export type NewUser = Omit<z.infer<typeof newUser>, 'password'>;

/** What may change of a user: the members given, at least one. */
export const userChange = z
  .strictObject({
    name: name.optional(),
    email: email.optional(),
    role: userRole.optional().describe('Set by admins only.'),
    password: newPassword.optional().describe('Ends all sessions of the user.'),
    current_password: givenPassword
      .optional()
      .describe(
        'Required when users change their own password or e-mail address; admins change those of others without it.',
      ),
  })
  .refine(
    ({ current_password: _given, ...change }) => Object.keys(change).length > 0,
    'must change at least one member',
  )
  .meta({ id: 'UserChange', minProperties: 1, examples: [{ name: 'John Q. Doe' }] });

/** What changes of a user, without what nobody but the login has to know. */
export type UserChange = Omit<z.infer<typeof userChange>, 'password' | 'current_password'>;

const userStats = z.strictObject({ users: count }).meta({ id: 'UserStats' });

/** What user-service says of itself. */
export const userServiceHealth = z
  .strictObject({
    service: z.literal('user-service'),
    status: z.literal('healthy'),
    users_count: count.optional().describe('Number of users; for admins, and where authentication is off.'),
  })
  .meta({ id: 'UserServiceHealth' });

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
    tag,
    answer: {
      status: 200,
      description: 'The service responds, and so does its database.',
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
    tag,
    answer: { status: 200, description: 'The count, kept with every write.', schema: success(userStats) },
    problems: [],
  }),
  listUsers: defineOperation({
    id: 'listUsers',
    method: 'get',
    path: '/api/users',
    access: 'user',
    summary: 'List users',
    tag,
    query: z.strictObject({ ...pageQuery, role: userRole.optional().describe('Only users with this role.') }),
    answer: { status: 200, description: 'A page of users in the order of their ids.', schema: pageOf(user) },
    problems: [],
  }),
  getUser: defineOperation({
    id: 'getUser',
    method: 'get',
    path: '/api/users/{id}',
    access: 'user',
    summary: 'Get a user',
    tag,
    params: byId,
    accepts: { preconditions: true },
    answer: { status: 200, description: 'The user.', schema: success(user), etag: true },
    problems: ['user-not-found'],
  }),
  createUser: defineOperation({
    id: 'createUser',
    method: 'post',
    path: '/api/users',
    access: 'optional',
    summary: 'Create a user',
    tag,
    body: newUser,
    accepts: { idempotencyKey: true },
    answer: {
      status: 201,
      description: 'The user as stored.',
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
    summary: 'Change a user',
    description:
      'Members that are absent keep their value. Users who change their own password or e-mail address prove it by `current_password`, and can do it a few times an hour and a day. A new password ends all sessions of the user: their refresh tokens are rejected.',
    tag,
    params: byId,
    body: userChange,
    accepts: { preconditions: true },
    answer: { status: 200, description: 'The user as stored.', schema: success(user), etag: true },
    problems: ['user-not-found', 'email-taken', 'login-throttled', 'login-overloaded'],
  }),
  deleteUser: defineOperation({
    id: 'deleteUser',
    method: 'delete',
    path: '/api/users/{id}',
    access: 'user',
    summary: 'Delete a user',
    tag,
    params: byId,
    accepts: { preconditions: true },
    answer: {
      status: 200,
      description: 'The user is gone.',
      schema: success(z.strictObject({ message: z.literal('User deleted') })),
    },
    problems: ['user-not-found'],
  }),
} as const;
