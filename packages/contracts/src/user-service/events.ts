import { z } from 'zod';
import { defineEvent } from '../events/definition.ts';
import { id, instant } from '../protocol/values.ts';
import { userRole } from './users.ts';

const common = { source: '/user-service', subjects: 'users' } as const;

// Events contain no names and e-mail addresses: streams, inboxes and dead letters store events beyond the deletion of a user.
// Receivers that need them call user-service.
const userState = z.strictObject({ id, role: userRole, created_at: instant, updated_at: instant });

/** Events of user-service. */
export const userEvents = {
  userCreated: defineEvent({
    ...common,
    type: 'zerda.user.created.v1',
    summary: 'A user was created',
    description: 'First event of a user. It contains no name and no e-mail address.',
    data: userState,
  }),
  userUpdated: defineEvent({
    ...common,
    type: 'zerda.user.updated.v1',
    summary: 'A user was changed',
    description:
      'Sent for every change, including members that the event does not contain, such as the name.',
    data: userState,
  }),
  userDeleted: defineEvent({
    ...common,
    type: 'zerda.user.deleted.v1',
    summary: 'A user was deleted',
    description: 'Last event of a user. The id is never used again.',
    data: z.strictObject({ id, deleted_at: instant }),
  }),
} as const;
