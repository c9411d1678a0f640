import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { it } from 'node:test';
import { describeOnNats } from '../../../packages/chassis/src/events/testing-nats.ts';
import type { Rule } from '../lib/checker.ts';
import { bundleAll, type Change, makeDist } from '../lib/mutants.ts';
import { runSeed } from '../lib/seed.ts';
import { openStage, type Transport } from '../lib/stage.ts';

/** Seeds within which a mistake must show. */
const most = 6;

/** A mistake that the services are built with, and the rules of which the checker must find one broken. */
interface Mutant {
  readonly title: string;
  readonly transport: Transport;
  readonly changes: readonly Change[];
  readonly breaks: readonly Rule[];
}

const relay = 'chassis/src/events/relay.ts';
const outboxQueue = 'chassis/src/events/outbox-queue.ts';
const inbox = 'chassis/src/events/inbox.ts';
const receiver = 'chassis/src/events/receiver.ts';

const sentBeforeItIs: Change = {
  file: relay,
  from: '      await transport.send(event);\n      settled.push({ event });',
  to: '      await queue.markSent([event]);\n      await transport.send(event);\n      settled.push({ event });',
};

const withoutLookingIntoTheInbox: readonly Change[] = [
  { file: inbox, from: "  if (known?.seen) return 'duplicate';\n", to: '' },
  {
    file: inbox,
    from: "  return again?.seen ? 'duplicate' : 'stale';",
    to: "  void again;\n  return 'stale';",
  },
];

const anyVersionIsNews: Change = {
  file: inbox,
  from: 'known !== undefined && known.version < versionOf(event)',
  to: 'known !== undefined',
};

const mutants: readonly Mutant[] = [
  {
    title: 'an event that is marked as sent before it is acknowledged',
    transport: 'http',
    changes: [sentBeforeItIs],
    breaks: ['event-lost'],
  },
  {
    title: 'an event that is marked as sent before it is acknowledged, by NATS',
    transport: 'nats',
    changes: [sentBeforeItIs],
    breaks: ['event-lost'],
  },
  {
    title: 'a note in the inbox that is a transaction of its own',
    transport: 'http',
    changes: [
      {
        file: receiver,
        from: `        await note(tx, envelope, { applied: true });
        return 'applied';
      });`,
        to: `        return 'applied';
      });
      if (step === 'applied') await database.write((tx) => note(tx, envelope, { applied: true }));`,
      },
    ],
    breaks: ['effect-apart'],
  },
  {
    // The unique index of the inbox is what holds then: a repeat fails, and is given up although it was dealt with.
    title: 'an inbox that is not looked into',
    transport: 'http',
    changes: withoutLookingIntoTheInbox,
    breaks: ['event-twice'],
  },
  {
    // Neither ids nor versions are looked at, and the index is told to let it pass: the effect itself is there twice.
    title: 'an inbox that holds nothing back',
    transport: 'nats',
    changes: [
      ...withoutLookingIntoTheInbox,
      anyVersionIsNews,
      {
        file: inbox,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a source
        from: '${event.subject}, ${version}, ${applied})`);',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of a source
        to: '${event.subject}, ${version}, ${applied}) on conflict do nothing`);',
      },
    ],
    breaks: ['effect-apart'],
  },
  {
    title: 'a relay that takes events of a subject at the same time',
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
    title: 'a version that is not looked at',
    transport: 'nats',
    changes: [anyVersionIsNews],
    breaks: ['version-back'],
  },
  {
    title: 'an event that is not written in the transaction of its row',
    transport: 'http',
    changes: [
      {
        file: 'user-service/src/store/user-store.ts',
        from: `  await append(tx, [announce(userEvents.userUpdated, stateOf(user))]);
  return user;`,
        to: '  return user;',
      },
      {
        file: 'user-service/src/store/user-store.ts',
        from: `        await beside?.(tx, user);
        return user;
      }),`,
        to: `        await beside?.(tx, user);
        return user;
      }).then(async (user) => {
        await database.write((tx) => append(tx, [announce(userEvents.userUpdated, stateOf(user))]));
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
      const stage = await openStage({ transport, dist });
      context.after(() => stage.close());
      const found = new Set<Rule>();
      for (let seed = 1; seed <= most && !breaks.some((rule) => found.has(rule)); seed += 1) {
        const { violations } = await runSeed({ stage, seed, dist });
        for (const { rule } of violations) found.add(rule);
        context.diagnostic(`seed ${seed}: ${[...found].join(', ') || 'nothing'}`);
      }
      assert.ok(
        breaks.some((rule) => found.has(rule)),
        `${breaks.join(' or ')} was to be found, and there was: ${[...found].join(', ') || 'nothing'}`,
      );
    });
  }
});
