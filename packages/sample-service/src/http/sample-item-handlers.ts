import { ownerFilter, requireAccessTo } from '@zerda/chassis/auth/ownership';
import type { Handlers } from '@zerda/chassis/http/api-router';
import { cutPage } from '@zerda/chassis/http/page';
import { success } from '@zerda/chassis/http/success';
import type { Idempotency } from '@zerda/chassis/idempotency/idempotency';
import type {
  SampleItem as SampleItemBody,
  sampleItemOperations,
} from '@zerda/contracts/sample-service/sample-items';
import type { SampleItem } from '../domain/sample-item.ts';
import type { SampleItemStore } from '../store/sample-item-store.ts';

export interface SampleItemHandlersDependencies {
  readonly sampleItems: SampleItemStore;
  readonly idempotency: Idempotency;
}

/** Creates the handlers of all operations of sample-service, including their authorization. */
export function createSampleItemHandlers({
  sampleItems,
  idempotency,
}: SampleItemHandlersDependencies): Handlers<typeof sampleItemOperations> {
  return {
    async sampleItemHealth() {
      await sampleItems.check();
      return { body: success({ service: 'sample-service', status: 'healthy' }) };
    },
    async listSampleItems({ caller, query: { cursor, limit, user_id } }) {
      const selection = { after: cursor, limit: limit + 1, userId: user_id, ownerId: ownerFilter(caller) };
      const { rows, next } = cutPage(await sampleItems.list(selection), limit);
      return { body: { ...success(rows.map(formatSampleItem)), page: { next } } };
    },
    async getSampleItem({ caller, params: { id } }) {
      return respond(await sampleItems.find(id, ownerFilter(caller)));
    },
    async createSampleItem({ caller, body: values, keyed }) {
      requireAccessTo(caller, values.user_id);
      return idempotency.run(keyed, (once) => sampleItems.create(values, once), respondCreated);
    },
    async updateSampleItem({ caller, params: { id }, body: values, precondition }) {
      return respond(await sampleItems.update(id, values, { precondition, ownerId: ownerFilter(caller) }));
    },
    async deleteSampleItem({ caller, params: { id }, precondition }) {
      const deleted = await sampleItems.delete(id, { precondition, ownerId: ownerFilter(caller) });
      return { body: success(formatSampleItem(deleted)) };
    },
  };
}

function respondCreated(created: SampleItem) {
  return { ...respond(created), location: `/api/sample-items/${created.id}` };
}

function respond(row: SampleItem) {
  return { body: success(formatSampleItem(row)), version: row.version };
}

function formatSampleItem({ id, userId, name, createdAt, updatedAt }: SampleItem): SampleItemBody {
  return {
    id,
    user_id: userId,
    name,
    created_at: createdAt.toISOString(),
    updated_at: updatedAt.toISOString(),
  };
}
