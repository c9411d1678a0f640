import { join } from 'node:path';
import { root } from '../lib/services.ts';
import { runTool } from './run-tool.ts';

interface CruiseResult {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
      readonly cycle?: readonly { readonly name: string }[];
    }[];
  };
}

/** Folders whose imports are checked. */
const folders = ['packages', 'scripts', 'tests'];

/**
 * Returns the imports below `directory` (default: the repository) that .dependency-cruiser.cjs forbids, one line each.
 * Reading no file is a finding too, because dependency-cruiser succeeds when its parser does not start.
 */
export async function findImportProblems(
  directory = root,
  paths: readonly string[] = folders,
): Promise<string[]> {
  const config = join(root, '.dependency-cruiser.cjs');
  const { stdout, output } = await runTool(
    'dependency-cruiser',
    'depcruise',
    [...paths, '--config', config, '--output-type', 'json'],
    { cwd: directory },
  );
  const result = parse(stdout);
  if (result === undefined) return [`dependency-cruiser did not finish:\n${output}`];
  const { totalCruised, violations } = result.summary;
  if (totalCruised === 0) return ['dependency-cruiser read no file'];
  return violations.map(({ rule, from, to, cycle }) => {
    const path = cycle ? cycle.map(({ name }) => name).join(' -> ') : to;
    return `${rule.name}: ${from} -> ${path}`;
  });
}

function parse(stdout: string): CruiseResult | undefined {
  try {
    return JSON.parse(stdout) as CruiseResult;
  } catch {
    return undefined;
  }
}
