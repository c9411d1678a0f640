import assert from 'node:assert/strict';
import { it } from 'node:test';
import { sql } from 'drizzle-orm';
import { describeOnEachEngine } from '../../testing/database.ts';
import { recordingLogger, testAudit } from '../../testing/observed.ts';
import { Deadline } from '../deadline.ts';
import { runInContext } from '../request-context.ts';
import { auditAfterCommit, auditingAfterCommit } from './audit-after-commit.ts';

describeOnEachEngine('audit after commit', {}, (openDatabase) => {
  it('writes lines of committed transactions only, with the actor and event of the context', async () => {
    const { logger, lines } = recordingLogger();
    const database = auditingAfterCommit(await openDatabase(), testAudit(logger));
    const cancel = (entityId: number) =>
      database.transaction(async (tx) => {
        auditAfterCommit(tx, [{ action: 'order.cancel', entityId }]);
        assert.equal(lines.length, 0, 'not before the commit');
        await tx.execute(sql.raw(`select 1 / ${entityId}`));
      });
    await assert.rejects(cancel(0));
    const audit = { actor: { type: 'service', id: 'user-service' }, eventId: 'e-1' } as const;
    await runInContext({ correlationId: 'c-1', deadline: Deadline.after(1000), audit }, () => cancel(7));
    assert.deepEqual(
      lines.splice(0).map(({ time, ...line }) => line),
      [
        {
          level: 'info',
          service: 'test',
          stream: 'audit',
          correlation_id: 'c-1',
          action: 'order.cancel',
          outcome: 'succeeded',
          actor_type: 'service',
          actor: 'user-service',
          entity_type: 'order',
          entity_id: '7',
          event_id: 'e-1',
          msg: 'audit',
        },
      ],
    );
    await cancel(8);
    assert.deepEqual(
      lines.map(({ actor_type, actor }) => [actor_type, actor]),
      [['service', 'test']],
    );
  });

  it('writes the lines of a retried transaction once', async () => {
    const { logger, lines } = recordingLogger();
    const database = auditingAfterCommit(await openDatabase(), testAudit(logger));
    let attempts = 0;
    await database.transaction(async (tx) => {
      attempts += 1;
      auditAfterCommit(tx, [{ action: 'order.cancel', entityId: attempts }]);
      if (database.engine === 'postgres' && attempts === 1)
        await tx.execute(sql.raw(`do $$ begin raise exception 'try again' using errcode = '40001'; end $$`));
    });
    assert.deepEqual(
      lines.map(({ entity_id }) => entity_id),
      [String(attempts)],
    );
  });
});
