import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartupError } from '../../packages/chassis/src/startup-error.ts';
import { apiDocumentOf } from '../checks/api-documents.ts';
import { findLanguageProblems } from '../checks/language.ts';
import { type Check, list, sourceChecks } from '../checks/source-checks.ts';
import { areas, type Snapshot, workspaceClosure } from './affected.ts';
import { findHelm } from './chart.ts';
import { commandSucceeds, runInForeground } from './child-process.ts';
import { findBuilder } from './cluster.ts';
import type { Command } from './images.ts';
import type { Step, Tool } from './pipeline.ts';
import { root, type ServiceName, services } from './services.ts';

/** What is checked and delivered by itself: a service, the chart or the documentation. */
export type DeliveryUnit = ServiceName;

/** All delivery units. */
export const deliveryUnits: readonly DeliveryUnit[] = [...services.map(({ name }) => name), ...areas];

const helm: Tool = {
  name: 'helm',
  requiredBy: 'REQUIRE_HELM',
  isAvailable: async () => (await findHelm()) !== undefined,
};

const imageBuilder: Tool = {
  name: 'docker or buildah',
  requiredBy: 'REQUIRE_BUILDER',
  isAvailable: () =>
    findBuilder(process.env).then(
      () => true,
      () => false,
    ),
};

const meshCluster: Tool = {
  name: 'a cluster for tests with Istio and Argo Rollouts',
  requiredBy: 'REQUIRE_MESH',
  // Only on request: the tests install into the cluster of kubectl's current context.
  isAvailable: async () =>
    process.env.REQUIRE_MESH === '1' &&
    commandSucceeds([
      ...(['kubectl', 'get', 'customresourcedefinition', '--request-timeout=5s'] as const),
      ...['authorizationpolicies.security.istio.io', 'rollouts.argoproj.io'],
    ]),
};

/** Returns the steps of a delivery unit's pipeline. @throws StartupError (78) for an unknown unit */
export async function planPipeline(unit: DeliveryUnit): Promise<Step[]> {
  if (unit === 'chart') return chartSteps();
  if (unit === 'docs') return docsSteps();
  if (!deliveryUnits.includes(unit))
    throw new StartupError(`Unknown delivery unit: ${unit}. Use ${deliveryUnits.join(', ')}.`, 78);
  return serviceSteps(unit, await containedPackages(unit));
}

/** Returns the folder of a service and those of the workspace packages in its bundle. */
export async function containedPackages(service: ServiceName): Promise<string[]> {
  return workspaceClosure(`packages/${service}`, { manifests: await readManifests() });
}

async function readManifests(): Promise<Snapshot['manifests']> {
  const names = await readdir(join(root, 'packages'));
  const entries = names.map(async (name) => {
    const folder = `packages/${name}`;
    const text = await readFile(join(root, folder, 'package.json'), 'utf8').catch(() => undefined);
    return text === undefined ? [] : [[folder, JSON.parse(text)] as const];
  });
  return new Map((await Promise.all(entries)).flat());
}

function serviceSteps(service: ServiceName, folders: readonly string[]): Step[] {
  return [
    ...Object.entries(sourceChecks([apiDocumentOf(service)], folders)).map(([title, check]) =>
      checkStep(title, check),
    ),
    generatedFiles,
    step('unit tests', script('test', ...folders)),
    step('contracts', script('can-i-deploy', service, 'production')),
    step('bundle', script('build', service)),
    step('image', script('images', service), imageBuilder),
  ];
}

function chartSteps(): Step[] {
  return [
    generatedFiles,
    step('rules, dashboards', script('test', 'tests/monitoring')),
    step('helm lint', ['helm', 'lint', 'charts/zerda'], helm),
    step('chart tests', script('test', 'tests/chart'), helm),
    step('package', ['helm', 'package', 'charts/zerda', '--destination', 'dist/charts'], helm),
    step('mesh and canary', ['.ci/mesh'], meshCluster),
  ];
}

function docsSteps(): Step[] {
  return [
    checkStep('language', list(findLanguageProblems)),
    generatedFiles,
    step('checks', script('test', 'tests/checks')),
  ];
}

/** Rejects incompatible changes of published event schemas, and generated files that are out of date. */
const generatedFiles = step('generated files', script('generate', '--check'));

function step(title: string, command: Command, needs?: Tool): Step {
  const run = async (): Promise<number> => {
    const [file, ...args] = command;
    const path = file === 'helm' ? ((await findHelm()) ?? file) : file;
    return runInForeground([path, ...args]);
  };
  return { title, command, run, ...(needs && { needs }) };
}

function checkStep(title: string, check: Check): Step {
  return {
    title,
    run: async () => {
      const findings = await check();
      if (findings !== '') console.error(findings);
      return findings === '' ? 0 : 1;
    },
  };
}

function script(name: string, ...args: readonly string[]): Command {
  return [process.execPath, '--import', 'tsx', `scripts/${name}.ts`, ...args];
}
