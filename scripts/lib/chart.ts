import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments, stringify } from 'yaml';
import { type ChartValue, readValues, schemaOf } from './chart-values.ts';
import { root } from './services.ts';

const run = promisify(execFile);

const umbrella = 'charts/zerda';
const serviceChart = 'charts/zerda/charts/service';

/** Versions of Kubernetes that the chart is for, the oldest and the newest. */
export const kubernetesVersions = { oldest: '1.30.0', newest: '1.35.0' } as const;

/** What the charts' values.yaml is the source of: a schema each, and the tables of the chart's page. */
export function chartFiles(): [path: string, content: string][] {
  const values = [umbrella, serviceChart].map((chart) => {
    const text = readFileSync(join(root, chart, 'values.yaml'), 'utf8');
    return { chart, schema: schemaOf(text), rows: readValues(text) };
  });
  return [
    ...values.map(({ chart, schema }): [string, string] => [
      `${chart}/values.schema.json`,
      `${JSON.stringify(schema, undefined, 2)}\n`,
    ]),
    [`${umbrella}/README.md`, chartPage(values[0]?.rows ?? [], values[1]?.rows ?? [])],
  ];
}

function chartPage(release: readonly ChartValue[], service: readonly ChartValue[]): string {
  return `${[
    '# The chart of zerda',
    '<!-- Made by `npm run generate` from the values.yaml of both charts; change those instead. -->',
    'The release, and one chart of a service that it takes once for each: `gateway`, `user-service`, `order-service`. How it is ' +
      "installed stands in the repository's README, why it is as it is in docs/decisions.",
    '## Values of the release',
    table(release),
    '## Values of a service',
    'Under `gateway`, `user-service` and `order-service`; at the root where charts/service is installed alone. The defaults ' +
      'of the three are in `values.yaml`.',
    table(service),
  ].join('\n\n')}\n`;
}

function table(values: readonly ChartValue[]): string {
  return [
    '| value | default | meaning |',
    '|---|---|---|',
    ...values.map(({ path, default: standard, description }) => {
      const shown = standard.length > longestDefault ? 'see values.yaml' : `\`${cell(standard)}\``;
      return `| \`${path}\` | ${shown} | ${cell(description)} |`;
    }),
  ].join('\n');
}

/** Characters of a default that a cell of the table still shows. */
const longestDefault = 80;

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

/** Helm: the command that HELM names, or `helm` on the PATH; undefined when it is not there. */
export async function findHelm(): Promise<string | undefined> {
  return findCommand(process.env.HELM || 'helm');
}

/** Where a command is; undefined when the PATH does not have it. */
export async function findCommand(name: string): Promise<string | undefined> {
  const folders = name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  for (const folder of folders) {
    const file = folder === '' ? name : join(folder, name);
    const found = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  return undefined;
}

export interface RenderOptions {
  /** Folder of the chart; the umbrella by default. */
  readonly chart?: string;
  /** Name of the release; `zerda` by default. */
  readonly release?: string;
  /** Further arguments of `helm template`. */
  readonly args?: readonly string[];
  /** The oldest by default. */
  readonly kubernetes?: string;
}

/**
 * What the chart makes, as text.
 * @throws the error of the command, with Helm's words in `stderr`
 */
export async function render(helm: string, options: RenderOptions = {}): Promise<string> {
  const { chart = umbrella, release = 'zerda', args = [], kubernetes = kubernetesVersions.oldest } = options;
  const { stdout } = await run(
    helm,
    ['template', release, chart, '--namespace', 'zerda', '--kube-version', kubernetes, ...args],
    { cwd: root, maxBuffer: 16 * 1024 * 1024 },
  );
  return stdout;
}

/** Profiles whose whole render is kept, so that a review sees what a change of a template does. */
const profiles: Readonly<Record<string, readonly string[]>> = {
  default: fixedSecrets(),
  dev: ['--values', `${umbrella}/values-dev.yaml`, ...fixedSecrets()],
  prod: ['--values', `${umbrella}/values-prod.yaml`],
  bundled: ['--values', 'tests/chart/golden/bundled.values.yaml', ...fixedSecrets()],
  full: ['--values', 'tests/chart/golden/full.values.yaml'],
};

/** Without a cluster the chart generates no secrets. */
function fixedSecrets(): string[] {
  const passwords = ['user-service', 'order-service'].flatMap((service) => [
    '--set',
    `${service}.database.bundled.password=golden`,
  ]);
  return ['--set', 'global.eventsSecret=golden', '--set', 'global.auth.existingSecret=golden', ...passwords];
}

/** Files that Helm makes of the charts: the kept renders, and the manifests of k8s/ for those without Helm. */
export async function renderedFiles(helm: string): Promise<[path: string, content: string][]> {
  const goldens = Object.entries(profiles).map(async ([name, args]): Promise<[string, string]> => {
    const text = await render(helm, { args });
    return [`tests/chart/golden/${name}.yaml`, plain(objectsOf(text))];
  });
  const values = ['--values', `${umbrella}/values-gitops.yaml`];
  const manifests = render(helm, { args: ['--no-hooks', ...values] }).then((text): [string, string] => [
    'k8s/zerda.yaml',
    plain(objectsOf(text)),
  ]);
  const smoke = render(helm, { args: ['--show-only', 'templates/tests/smoke.yaml', ...values] }).then(
    (text): [string, string] => ['k8s/smoke-job.yaml', plain(objectsOf(text).map(asJob))],
  );
  return Promise.all([...goldens, manifests, smoke]);
}

function objectsOf(text: string): unknown[] {
  return parseAllDocuments(text)
    .map((document) => document.toJSON() as unknown)
    .filter((object) => object !== null);
}

/** The pod of `helm test` as a Job, which kubectl and skaffold run and wait for. */
function asJob(object: unknown): unknown {
  const { metadata, spec } = object as { metadata: { namespace: string; labels: object }; spec: object };
  const { namespace, labels } = metadata;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'zerda-smoke', namespace, labels },
    spec: { backoffLimit: 0, ttlSecondsAfterFinished: 600, template: { metadata: { labels }, spec } },
  };
}

/** The same objects in the same text, whichever version of Helm put its blank lines and comments between them. */
function plain(objects: readonly unknown[]): string {
  const notice = '# Made by `npm run generate` from charts/zerda; change the chart instead.\n';
  const texts = objects.map((object) => stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }));
  return notice + texts.map((text) => `---\n${text}`).join('');
}
