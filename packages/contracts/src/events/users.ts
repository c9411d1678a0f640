import { z } from 'zod';
import { id, instant } from '../protocol/values.ts';
import { userRole } from '../users.ts';
import { defineEvent } from './definition.ts';

const common = { source: '/user-service', subjects: 'users' } as const;

// Names and e-mail addresses are not in events: what is published stays in streams, inboxes and dead letters, where a
// deleted user cannot be deleted. Who needs them asks user-service.
const userState = z.strictObject({ id, role: userRole, created_at: instant, updated_at: instant });

/** What user-service tells of users. */
export const userEvents = {
  userCreated: defineEvent({
    ...common,
    type: 'zerda.user.created.v1',
    summary: 'A user was created',
    data: userState,
  }),
  userUpdated: defineEvent({
    ...common,
    type: 'zerda.user.updated.v1',
    summary: 'A user was changed',
    description: 'Also by a change of what the event does not show, such as the name.',
    data: userState,
  }),
  userDeleted: defineEvent({
    ...common,
    type: 'zerda.user.deleted.v1',
    summary: 'A user was deleted',
    description: 'The last event of a user; ids are never used again.',
    data: z.strictObject({ id, deleted_at: instant }),
  }),
} as const;
