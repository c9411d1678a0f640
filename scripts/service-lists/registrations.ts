import { profileNames, profileSource } from '../lib/chart-profiles.ts';
import { natsPasswordVariable } from '../lib/nats-users.ts';
import { variableOf } from '../lib/services.ts';
import {
  addEntry,
  addItem,
  readEntry,
  readItem,
  removeEntry,
  removeItem,
  removeItems,
  type YamlPath,
} from './edit-yaml.ts';
import { type Replacement, replaceAll, type ServiceNames, spellings, stemOf } from './service-names.ts';

/** A new service, as the lists of the repository describe it. */
export interface NewService extends ServiceNames {
  readonly port: number;
  readonly database: boolean;
  /** Services to whose events it subscribes. */
  readonly subscribesTo: readonly string[];
  /** Routes of the gateway, as entries of routes.yaml. */
  readonly routes: readonly string[];
}

/** A file that lists the services, and its edits for one service. Removing what was added restores the text. */
export interface Registration {
  /** Path in the repository. */
  readonly file: string;
  add(text: string): string;
  remove(text: string): string;
}

/** The service whose entries are the model of new ones. */
const model = 'order-service';

/** An edit of one list in a file. */
type Edit = Omit<Registration, 'file'>;

/** Returns the edits that make a service part of the system, or remove it. */
export function registrations(service: NewService): Registration[] {
  const { service: name, database, subscribesTo } = service;
  const stem = stemOf(name);
  const variable = variableOf(name);
  const { snake } = spellings(stem);
  const asNew: readonly Replacement[] = [
    [model, name],
    [model.replaceAll('-', '_'), spellings(name).snake],
    ['order-database', `${stem}-database`],
    ['ORDER_', `${variable}_`],
    ['Order service', spellings(name).sentence],
    ['orders', snake],
    ['8002', String(service.port)],
  ];

  /** An entry that is a copy of the model's, without the lines that do not apply. */
  const copiedEntry = (path: YamlPath, options: CopyOptions = {}): Edit => {
    const { key = model, before, separated = false, without = [] } = options;
    return {
      add(text) {
        const copy = replaceAll(readEntry(text, path, key), asNew);
        const entry = without.reduce((rest, [inside, part]) => {
          const at = [replaceAll(key, asNew), ...inside];
          return hasEntry(rest, at, part) ? removeEntry(rest, at, part) : rest;
        }, copy);
        return addEntry(text, path, separated ? `\n${entry.trimEnd()}` : entry.trimEnd(), before);
      },
      remove: (text) => removeEntry(text, path, replaceAll(key, asNew)),
    };
  };
  const entry = (path: YamlPath, key: string, value: string, before?: string): Edit => ({
    add: (text) => addEntry(text, path, `${key}: ${value}`.trimEnd(), before),
    remove: (text) => removeEntry(text, path, key),
  });
  const item = (path: YamlPath, value: string): Edit => ({
    add: (text) => addItem(text, path, value),
    remove: (text) => removeItem(text, path, name),
  });
  const copiedItem = (path: YamlPath): Edit => ({
    add: (text) => addItem(text, path, replaceAll(readItem(text, path, model), asNew)),
    remove: (text) => removeItem(text, path, name),
  });

  const heard = subscribesTo.includes('user-service');

  return [
    registration('charts/zerda/Chart.yaml', [copiedItem(['dependencies'])]),
    registration('charts/zerda/values.yaml', [
      copiedEntry(['gateway', 'peers'], { key: 'ORDER_SERVICE_URL' }),
      item(['user-service', 'networkPolicy', 'allowFrom'], name),
      ...(heard ? [item(['user-service', 'events', 'sinks'], name)] : []),
      onlyRemoved(['global', 'nats', 'bundled', 'servicePasswordKeys'], name),
      copiedEntry([], {
        before: 'user-service',
        separated: true,
        without: [
          [['peers'], 'USER_SERVICE_MANAGEMENT_URL'],
          ...(heard ? [] : ([[['events'], 'sources']] as const)),
          ...(database
            ? []
            : ([
                [[], 'database'],
                [[], 'events'],
              ] as const)),
        ],
      }),
    ]),
    ...profileNames.map((profile) => registration(profileSource(profile), [onlyRemoved([], name)])),
    registration('compose.yaml', [
      entry(
        ['services', 'gateway', 'environment'],
        `${variable}_SERVICE_URL`,
        `http://${name}:${service.port}`,
      ),
      copiedEntry(['services', 'gateway', 'depends_on']),
      copiedEntry(['services'], {
        before: 'user-service',
        separated: true,
        without: composeWithout(database, stem),
      }),
      ...(heard ? [eventSink(name)] : []),
      ...(database
        ? [
            copiedEntry(['services'], {
              key: 'order-database',
              before: 'user-service',
              separated: true,
            }),
            entry(
              ['services', 'nats', 'environment'],
              natsPasswordVariable(name),
              `'"\${${variable}_NATS_PASSWORD:-${snake}}"'`,
            ),
            entry(['volumes'], snake, '', 'nats'),
          ]
        : []),
    ]),
    ...['production', 'staging'].map((environment) =>
      // A new service is deployed later.
      registration(`deploy/${environment}.yaml`, [onlyRemoved(['services'], name)]),
    ),
    registration('packages/contracts/src/services.ts', [contractEntry(name)]),
    registration('packages/gateway/routes.yaml', [
      {
        add: (text) =>
          addEntry(
            text,
            ['upstreams'],
            `${name}:\n  url: http://127.0.0.1:${service.port}\n  health: /api/${service.plural}/health`,
          ),
        remove: (text) => removeEntry(text, ['upstreams'], name),
      },
      routesOf(service),
    ]),
    registration('skaffold.yaml', [
      copiedItem(['build', 'artifacts']),
      ...['repository', 'tag', 'digest'].map((part) =>
        copiedEntry(['deploy', 'helm', 'releases', 0, 'setValueTemplates'], {
          key: `${model}.image.${part}`,
        }),
      ),
      copiedItem(['profiles', 0, 'build', 'artifacts']),
      copiedEntry(['profiles', 1, 'patches', 0, 'value'], {
        key: `${model}.probes.liveness.failureThreshold`,
      }),
    ]),
  ];
}

/** Path of a map inside of a copied entry, and the key of the entry that is left out. */
type Without = readonly [inside: YamlPath, key: string];

interface CopyOptions {
  /** Key of the copied entry; the model by default. */
  readonly key?: string;
  /** Key before which the copy is added; the end of the map by default. */
  readonly before?: string;
  /** Whether an empty line separates the entries. */
  readonly separated?: boolean;
  readonly without?: readonly Without[];
}

function registration(file: string, edits: readonly Edit[]): Registration {
  return {
    file,
    add: (text) => edits.reduce((edited, edit) => edit.add(edited), text),
    remove: (text) => edits.toReversed().reduce((edited, edit) => edit.remove(edited), text),
  };
}

function hasEntry(text: string, path: YamlPath, key: string): boolean {
  try {
    readEntry(text, path, key);
    return true;
  } catch {
    return false;
  }
}

/** The routes of the gateway to the service. Removes all of them, also those that were added later. */
function routesOf({ service, routes }: NewService): Edit {
  return {
    add: (text) => routes.reduce((edited, route) => addItem(edited, ['routes'], route), text),
    remove: (text) =>
      removeItems<{ readonly upstream: string }>(text, ['routes'], ({ upstream }) => upstream === service),
  };
}

/** An entry that a new service lacks, but that may have been added later. */
function onlyRemoved(path: YamlPath, key: string): Edit {
  return {
    add: (text) => text,
    remove: (text) => (hasEntry(text, path, key) ? removeEntry(text, path, key) : text),
  };
}

/** Returns what a new service lacks in compose.yaml, compared to the model. */
function composeWithout(database: boolean, stem: string): Without[] {
  const environment = ['environment'];
  const unused: Without[] = [
    [environment, 'USER_SERVICE_MANAGEMENT_URL'],
    [environment, 'DEMO_DATA'],
  ];
  if (database) return unused;
  const variables = [
    ...['EVENT_SECRET', 'EVENT_SIGNATURES', 'NATS_URL', 'NATS_USER', 'NATS_PASSWORD'],
    ...['HOST', 'NAME', 'USER', 'PREPARED_STATEMENTS', 'PASSWORD'].map((part) => `DATABASE_${part}`),
  ];
  return [
    ...unused,
    ...variables.map((variable): Without => [environment, variable]),
    [['depends_on'], `${stem}-database`],
  ];
}

/** The URL to which user-service of compose.yaml sends events over HTTP. */
function eventSink(name: string): Edit {
  const last = `http://${model}:9090/events`;
  const added = `,http://${name}:9090/events`;
  return {
    add: (text) => replaceOnce(text, last, last + added),
    remove: (text) => replaceOnce(text, added, ''),
  };
}

/** The import and the entry of a contract in the index of contracts. */
function contractEntry(name: string): Edit {
  const { camel } = spellings(name);
  const importLine = `import { ${camel}Contract } from './${name}/contract.ts';\n`;
  const entryLine = `  ${camel}Contract,\n`;
  return {
    add(text) {
      const firstType = 'import type ';
      const withImport = replaceOnce(text, firstType, importLine + firstType);
      return replaceOnce(withImport, '  gatewayContract,\n', `${entryLine}  gatewayContract,\n`);
    },
    remove: (text) => replaceOnce(replaceOnce(text, importLine, ''), entryLine, ''),
  };
}

/** @throws Error unless the replaced text occurs exactly once */
function replaceOnce(text: string, from: string | RegExp, to: string): string {
  const [before, after, ...more] = text.split(from);
  if (before === undefined || after === undefined || more.length > 0)
    throw new Error(`"${String(from).trim()}" must occur exactly once`);
  return before + to + after;
}
