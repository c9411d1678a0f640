import { sampleItemEvents } from '@zerda/contracts/sample-service/events';
import { type NewEvent, newEvent } from '@zerda/events/outbox';
import type { SampleItem } from '../domain/sample-item.ts';

/** Returns the event of a new sample item. */
export function announceCreated({ id, userId, name, version, createdAt }: SampleItem): NewEvent {
  const data = { id, user_id: userId, name, created_at: createdAt.toISOString() };
  return newEvent(sampleItemEvents.sampleItemCreated, { id, version, data });
}

/** Returns the event of a change. */
export function announceUpdated({ id, userId, name, version, updatedAt }: SampleItem): NewEvent {
  const data = { id, user_id: userId, name, updated_at: updatedAt.toISOString() };
  return newEvent(sampleItemEvents.sampleItemUpdated, { id, version, data });
}

/** Returns the event of a deletion. Its version follows that of the last change. */
export function announceDeleted({ id, userId, version }: SampleItem): NewEvent {
  const data = { id, user_id: userId, deleted_at: new Date().toISOString() };
  return newEvent(sampleItemEvents.sampleItemDeleted, { id, version: version + 1, data });
}
