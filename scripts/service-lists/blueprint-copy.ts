import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../lib/services.ts';
import type { ChangedFile } from './change-lists.ts';
import { type Replacement, renaming, replaceAll, type ServiceNames } from './service-names.ts';

const run = promisify(execFile);

/** Entity of the blueprints. It has two words, so that each spelling of its name is a text of its own. */
const blueprintEntity = 'sample-item';
/** Ports of the blueprints. */
const blueprintPort = 8003;
const blueprintManagementPort = 9093;

/** What a blueprint is copied as. */
export interface Copy extends ServiceNames {
  readonly blueprint: string;
  readonly port: number;
  readonly managementPort: number;
  /** Parts of the blueprint that the copy lacks. */
  readonly without: readonly Omission[];
}

/** A part of a blueprint: files, and texts in others that occur exactly once. */
export interface Omission {
  /** Files and folders, as paths in the package or of its migrations. */
  readonly files: readonly string[];
  /** Texts by file, each with its replacement. */
  readonly texts: Readonly<Record<string, readonly Replacement[]>>;
}

/** Returns the replacements of the names and ports of a blueprint. */
export function blueprintReplacements({
  blueprint,
  service,
  entity,
  plural,
  port,
  managementPort,
}: Omit<Copy, 'without'>): Replacement[] {
  return [
    ...renaming(blueprint, service),
    ...renaming(`${blueprintEntity}s`, plural),
    ...renaming(blueprintEntity, entity),
    [String(blueprintPort), String(port)],
    [String(blueprintManagementPort), String(managementPort)],
  ];
}

/**
 * Returns the files of the package and the contract of a new service: those of a blueprint with other names.
 * @throws Error if a name of the blueprint would be left, or a text of an omission is missing
 */
export async function copyBlueprint(copy: Copy): Promise<ChangedFile[]> {
  const { blueprint, without } = copy;
  const folders = [`packages/${blueprint}/`, `packages/contracts/src/${blueprint}/`];
  const { stdout } = await run('git', ['ls-files', '-z', '--', ...folders], { cwd: root });
  const omitted = without.flatMap(({ files }) => files.map((file) => `packages/${blueprint}/${file}`));
  const files = stdout
    .split('\0')
    .filter((file) => file !== '' && !omitted.some((path) => file === path || file.startsWith(`${path}/`)));
  const replacements = blueprintReplacements(copy);
  return Promise.all(
    files.map(async (source) => {
      const text = await readFile(join(root, source), 'utf8');
      const file = replaceAll(source, replacements);
      const renamed = replaceAll(omit(text, source, blueprint, without), replacements);
      if (leftover.test(file + renamed)) throw new Error(`${file} would contain a name of ${blueprint}`);
      return { file, text: file.endsWith('/package.json') ? withoutMark(renamed) : renamed };
    }),
  );
}

/** Names of the blueprints in any spelling. */
const leftover = /(?:sample|stateless)[-_ ]?(?:items?|service)/i;

function omit(text: string, file: string, blueprint: string, without: readonly Omission[]): string {
  const replacements = without.flatMap(
    ({ texts }) =>
      Object.entries(texts).find(([path]) =>
        [`packages/${blueprint}/${path}`, `packages/contracts/src/${blueprint}/${path}`].includes(file),
      )?.[1] ?? [],
  );
  return replacements.reduce((rest, [from, to]) => {
    const parts = rest.split(from);
    if (parts.length !== 2) throw new Error(`${file} must contain "${from.trim()}" exactly once`);
    return parts.join(to);
  }, text);
}

/** Returns the package.json without the mark of a blueprint, with the first version. */
function withoutMark(text: string): string {
  const { zerda, ...manifest } = JSON.parse(text);
  const { blueprint: _mark, ...description } = zerda;
  const { dependencies, ...others } = manifest;
  return `${JSON.stringify({ ...others, version: '0.1.0', zerda: description, dependencies }, null, 2)}\n`;
}

/** The part of sample-service that receives the events of deleted users. */
export const subscription: Omission = {
  files: ['src/events', 'src/store/delete-of-user.ts', 'migrations/0007_inbox.sql'],
  texts: {
    'package.json': [['"subscribesTo": [\n      "user-service"\n    ]', '"subscribesTo": []']],
    'contract.ts': [
      ["import { userEvents } from '../user-service/events.ts';\n", ''],
      [
        `  receives: {
    events: { userDeleted: userEvents.userDeleted },
    description: 'Deletes the sample items of a deleted user.',
  },
`,
        '',
      ],
      ['The sample item is deleted, by a request or with its user.', 'The sample item is deleted.'],
    ],
    'src/commands/events.ts': [
      ["import { eventMetrics } from '@zerda/events/event-metrics';\n", ''],
      ["import { createReceiver } from '@zerda/events/receiver';\n", ''],
      ["import { userSubscriptions } from '../events/user-subscriptions.ts';\n", ''],
      [
        `  // A dead letter that fails again returns to the dead letters after the first failure.
  const receiver = createReceiver({
    database,
    logger: service.logger,
    metrics: eventMetrics(service.metrics.registry),
    maxFailures: 1,
    subscriptions: userSubscriptions,
  });
`,
        '',
      ],
      ['audit, receiver, print', 'audit, print'],
    ],
    'src/serve.ts': [
      ['import { openServiceEvents, openServiceSink } from', 'import { openServiceEvents } from'],
      ["import { userSubscriptions } from './events/user-subscriptions.ts';\n", ''],
      ['  const sink = openServiceSink(service);\n', ''],
      ['logger, events: sink?.listener, calls', 'logger, calls'],
      [
        `  const database = await openServiceEvents({
    ...service,
    tracer,
    database: plainDatabase,
    sink,
    subscriptions: userSubscriptions,
  });
`,
        '  const database = await openServiceEvents({ ...service, tracer, database: plainDatabase });\n',
      ],
      ['/** Serves the API and processes events until', '/** Serves the API and sends events until'],
    ],
    'src/store/constraints.ts': [
      ["import { inboxConstraints } from '@zerda/events/inbox-constraints';\n", ''],
      ['  ...inboxConstraints,\n', ''],
    ],
  },
};
