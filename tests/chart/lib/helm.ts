import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { findHelm, type RenderOptions, render } from '../../../scripts/lib/chart.ts';
import { root } from '../../../scripts/lib/services.ts';
import { serveCluster } from './cluster-api.ts';

const run = promisify(execFile);

/** A rendered Kubernetes object. */
// The tests check the shape of these objects, so they have no type.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Manifest = any;

/** Result of a render. */
export interface Rendered {
  readonly all: readonly Manifest[];
  /** Returns the object of that kind and name. @throws Error when there is none */
  get(kind: string, name: string): Manifest;
  /** Returns the names of the objects of that kind. */
  names(kind: string): string[];
}

export interface HelmRenderOptions extends RenderOptions {
  /** Arguments that connect Helm to another cluster (`serveCluster`), or to none (an empty list). */
  readonly cluster?: readonly string[];
}

export interface Helm {
  /**
   * Renders the chart with `values`, as `helm install` does in an empty namespace.
   * @throws Error with Helm's message
   */
  render(values?: Readonly<Record<string, unknown>>, options?: HelmRenderOptions): Promise<Rendered>;
  /** Returns the notes that `helm install` prints with `values` in an empty namespace. */
  notes(values?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Path of the helm command. */
  readonly command: string;
}

/**
 * Declares a suite that needs Helm. If helm is not on the PATH, the suite is one skipped test, or with REQUIRE_HELM=1 a failed one.
 * HELM names another command, such as Helm 3.
 */
export async function describeWithHelm(title: string, suite: (helm: Helm) => void): Promise<void> {
  const command = await findHelm();
  if (command !== undefined) {
    describe(title, () =>
      suite({
        command,
        render: (values, options) => renderWith(command, values, options),
        notes: (values) => notesWith(command, values),
      }),
    );
  } else if (process.env.REQUIRE_HELM === '1') {
    it(title, () => {
      throw new Error('helm is not on the PATH. Install it or unset REQUIRE_HELM.');
    });
  } else {
    it(`${title}: skipped, helm is not on the PATH`, { skip: true }, () => undefined);
  }
}

let emptyCluster: Promise<string[]> | undefined;

async function renderWith(
  command: string,
  values: Readonly<Record<string, unknown>> = {},
  { cluster, ...options }: HelmRenderOptions = {},
): Promise<Rendered> {
  emptyCluster ??= serveCluster();
  const connection = cluster ?? (await emptyCluster);
  const args = [...connection, ...(options.args ?? []), ...setArguments(values)];
  const text = await render(command, { ...options, args }).catch((error: { stderr?: string }) => {
    throw new Error(error.stderr ?? String(error));
  });
  const all: Manifest[] = parseAllDocuments(text)
    .map((document) => document.toJSON() as Manifest)
    .filter((object) => object !== null);
  return {
    all,
    get(kind, name) {
      const match = all.find((object) => object.kind === kind && object.metadata.name === name);
      if (match === undefined) throw new Error(`no ${kind} ${name} among: ${names(kind).join(', ')}`);
      return match;
    },
    names,
  };

  function names(kind: string): string[] {
    return all.filter((object) => object.kind === kind).map((object) => object.metadata.name as string);
  }
}

async function notesWith(command: string, values: Readonly<Record<string, unknown>> = {}): Promise<string> {
  emptyCluster ??= serveCluster();
  const { stdout } = await run(
    command,
    [
      // `helm template` does not render the notes.
      ...['install', 'zerda', 'charts/zerda', '--namespace', 'zerda', '--output', 'json'],
      ...(await emptyCluster),
      ...setArguments(values),
    ],
    { cwd: root, maxBuffer: 16 * 1024 * 1024 },
  );
  return JSON.parse(stdout).info.notes;
}

/** Returns the `--set-json` arguments for values by path. */
function setArguments(values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values).flatMap(([path, value]) => [
    '--set-json',
    `${path}=${JSON.stringify(value)}`,
  ]);
}

/** Returns the pod spec of a manifest or of its template; undefined for objects without pods. */
export function podSpecOf(manifest: Manifest): Manifest | undefined {
  if (manifest.kind === 'Pod') return manifest.spec;
  return manifest.spec?.template?.spec;
}
