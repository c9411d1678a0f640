import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { findHelm, type RenderOptions, render } from '../../scripts/lib/chart.ts';
import { root } from '../../scripts/lib/services.ts';
import { serveCluster } from './testing-cluster-api.ts';

const run = promisify(execFile);

/** An object of Kubernetes, as rendered. */
// The tests look into objects whose shape is what they check.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Manifest = any;

/** What the chart makes of some values. */
export interface Rendered {
  readonly all: readonly Manifest[];
  /** The one object of that kind and name. @throws when there is none */
  get(kind: string, name: string): Manifest;
  /** Names of the objects of that kind. */
  names(kind: string): string[];
}

export interface HelmRenderOptions extends RenderOptions {
  /** Arguments that connect Helm with another cluster (`serveCluster`), or with none (an empty list). */
  readonly cluster?: readonly string[];
}

export interface Helm {
  /**
   * Renders the chart with `--set-json` for each of `values`, as `helm install` does in an empty namespace of a cluster.
   * @throws Error with Helm's message
   */
  render(values?: Readonly<Record<string, unknown>>, options?: HelmRenderOptions): Promise<Rendered>;
  /** Returns the notes that `helm install` prints, with `--set-json` for each of `values`, in an empty namespace of a cluster. */
  notes(values?: Readonly<Record<string, unknown>>): Promise<string>;
  /** Path of the command. */
  readonly command: string;
}

/**
 * A suite that needs Helm: without it on the PATH it is one skipped test that says so, and with REQUIRE_HELM=1 a failure.
 * HELM names another command, such as one of Helm 3.
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
      throw new Error('REQUIRE_HELM=1, but helm is not on the PATH');
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
  const args = [...connection, ...(options.args ?? []), ...set(values)];
  const text = await render(command, { ...options, args }).catch((error: { stderr?: string }) => {
    throw new Error(error.stderr ?? String(error));
  });
  const all: Manifest[] = parseAllDocuments(text)
    .map((document) => document.toJSON() as Manifest)
    .filter((object) => object !== null);
  return {
    all,
    get(kind, name) {
      const found = all.find((object) => object.kind === kind && object.metadata.name === name);
      if (found === undefined) throw new Error(`no ${kind} ${name} among: ${names(kind).join(', ')}`);
      return found;
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
      // `helm template` leaves the notes out.
      ...['install', 'zerda', 'charts/zerda', '--namespace', 'zerda', '--output', 'json'],
      ...(await emptyCluster),
      ...set(values),
    ],
    { cwd: root, maxBuffer: 16 * 1024 * 1024 },
  );
  return JSON.parse(stdout).info.notes;
}

/** Arguments that set values by their paths. */
function set(values: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(values).flatMap(([path, value]) => [
    '--set-json',
    `${path}=${JSON.stringify(value)}`,
  ]);
}

/** Pods that a manifest makes: its own spec, or that of its template; undefined for what makes none. */
export function podSpecOf(manifest: Manifest): Manifest | undefined {
  if (manifest.kind === 'Pod') return manifest.spec;
  return manifest.spec?.template?.spec;
}
