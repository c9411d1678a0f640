import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { root } from '../../../scripts/lib/services.ts';

/** Returns the files of secrets that k8s/secrets/kustomization.yaml names, as names in its folder. */
export async function secretFiles(): Promise<string[]> {
  const text = await readFile(join(root, 'k8s/secrets/kustomization.yaml'), 'utf8');
  const { secretGenerator } = parse(text) as { secretGenerator: readonly { readonly envs: string[] }[] };
  return secretGenerator.flatMap(({ envs }) => envs);
}
