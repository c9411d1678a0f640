import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { it } from 'node:test';
import { describeOnNats } from '../../../packages/events/testing/nats.ts';
import type { Rule } from '../lib/checker.ts';
import { bundleAll, type Change, makeDist } from '../lib/mutants.ts';
import { runSeed } from '../lib/seed.ts';
import { startTestSystem, type Transport } from '../lib/test-system.ts';

/** Maximum number of seeds until the checker must find a mutant. */
const maxSeeds = 6;

/** A bug that is built into the services, and the rules of which the checker must report at least one. */
interface Mutant {
  readonly title: string;
  readonly transport: Transport;
  readonly changes: readonly Change[];
  readonly breaks: readonly Rule[];
}

const relay = 'events/src/relay.ts';
const outboxQueue = 'events/src/outbox-queue.ts';
const inbox = 'events/src/inbox.ts';
const receiver = 'events/src/receiver.ts';

const markedBeforeSent: Change = {
  file: relay,
  from: '      await transport.send(',
  to: '      await queue.markSent([event]);\n      await transport.send(',
};

const withoutInboxLookup: readonly Change[] = [
  { file: inbox, from: "  if (subject?.seen) return 'duplicate';\n", to: '' },
  {
    file: inbox,
    from: "  return latest?.seen ? 'duplicate' : 'stale';",
    to: "  void latest;\n  return 'stale';",
  },
];

const withoutVersionCheck: Change = {
  file: inbox,
  from: 'subject !== undefined && subject.version < versionOf(event)',
  to: 'subject !== undefined',
};

const mutants: readonly Mutant[] = [
  {
    title: 'an event that is marked as sent before it is acknowledged, with HTTP',
    transport: 'http',
    changes: [markedBeforeSent],
    breaks: ['event-lost'],
  },
  {
    title: 'an event that is marked as sent before it is acknowledged, with NATS',
    transport: 'nats',
    changes: [markedBeforeSent],
    breaks: ['event-lost'],
  },
  {
    title: 'an inbox row that is written in a separate transaction',
    transport: 'http',
    changes: [
      {
        file: receiver,
        from: `        await recordProcessed(tx, envelope, { applied: true });
        return 'applied';
      });`,
        to: `        return 'applied';
      });
      if (step === 'applied') await database.transaction((tx) => recordProcessed(tx, envelope, { applied: true }));`,
      },
    ],
    breaks: ['effect-apart'],
  },
  {
    // The unique index of the inbox makes the duplicate fail, so a processed event becomes a dead letter.
    title: 'an inbox that is not queried for duplicates',
    transport: 'http',
    changes: withoutInboxLookup,
    breaks: ['event-twice'],
  },
  {
    // Neither ids nor versions are checked, and the unique index is bypassed, so the effect occurs twice.
    title: 'an inbox that accepts duplicates',
    transport: 'nats',
    changes: [
      ...withoutInboxLookup,
      withoutVersionCheck,
      {
        file: inbox,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: source text
        from: '${event.subject}, ${version}, ${applied})`);',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: source text
        to: '${event.subject}, ${version}, ${applied}) on conflict do nothing`);',
      },
    ],
    breaks: ['effect-apart'],
  },
  {
    title: 'a relay that sends events of one subject concurrently',
    transport: 'http',
    changes: [
      {
        file: outboxQueue,
        from: `        and not exists (select 1 from outbox as earlier
          where earlier.subject = candidate.subject and earlier.sent_at is null and earlier.position < candidate.position
          offset 0)
`,
        to: '',
      },
    ],
    breaks: ['order-broken'],
  },
  {
    title: 'a version that is not checked',
    transport: 'nats',
    changes: [withoutVersionCheck],
    breaks: ['version-back'],
  },
  {
    title: 'an event that is written in another transaction than its row',
    transport: 'http',
    changes: [
      {
        file: 'user-service/src/store/user-store.ts',
        from: `    appendEvents(tx, [newEvent(userEvents.userUpdated, stateOf(user))]),
`,
        to: '',
      },
      {
        file: 'user-service/src/store/user-store.ts',
        from: `        if (passwordHash !== undefined) await setPassword(tx, id, passwordHash);
        return user;
      }),`,
        to: `        if (passwordHash !== undefined) await setPassword(tx, id, passwordHash);
        return user;
      }).then(async (user) => {
        await database.transaction((tx) => appendEvents(tx, [newEvent(userEvents.userUpdated, stateOf(user))]));
        return user;
      }),`,
      },
    ],
    breaks: ['event-missing'],
  },
];

await describeOnNats('the checker finds', () => {
  for (const { title, transport, changes, breaks } of mutants) {
    it(title, { timeout: 600_000 }, async (context) => {
      const dist = await makeDist();
      context.after(() => rm(dist, { recursive: true, force: true }));
      await bundleAll(dist, changes);
      const system = await startTestSystem({ transport, dist });
      context.after(() => system.close());
      const reported = new Set<Rule>();
      for (let seed = 1; seed <= maxSeeds && !breaks.some((rule) => reported.has(rule)); seed += 1) {
        const { violations } = await runSeed({ system, seed, dist });
        for (const { rule } of violations) reported.add(rule);
        context.diagnostic(`seed ${seed}: ${[...reported].join(', ') || 'no violation'}`);
      }
      assert.ok(
        breaks.some((rule) => reported.has(rule)),
        `expected ${breaks.join(' or ')}, reported ${[...reported].join(', ') || 'no violation'}`,
      );
    });
  }
});
