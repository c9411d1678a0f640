import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../lib/services.ts';

/** Licenses of packages that run in production: they allow any use if their text is kept, which the images do. */
const permissive = [
  'MIT',
  'Apache-2.0',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'Unlicense',
];

/** Licenses that only development packages may have. They are not distributed. */
const developmentOnly = ['MPL-2.0', 'Python-2.0', 'CC-BY-4.0'];

/** Packages whose license is not an SPDX expression, with the license in their text. */
const stated: Readonly<Record<string, string>> = {
  'incremental-encoder': 'MPL-2.0',
  spawndamnit: 'MIT',
};

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly link?: boolean;
}

/**
 * Returns packages of the lock file below `directory` (default: the repository) whose license is not allowed, one line each.
 * A development package may also have a license of `developmentOnly`.
 */
export async function findLicenseProblems(directory = root): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(directory, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockedPackage>>;
  };
  return Object.entries(lock.packages).flatMap(([path, { version, license, dev, link }]) => {
    const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path) ?? [];
    if (name === undefined || link) return [];
    const allowed = dev ? [...permissive, ...developmentOnly] : permissive;
    const expression = stated[name] ?? license;
    if (expression !== undefined && isAllowed(expression, allowed)) return [];
    const use = dev ? 'a development package' : 'a package that runs in production';
    return [
      `${name} ${version}: the license ${expression ?? '(none)'} of ${use} is not in the list of scripts/checks/licenses.ts`,
    ];
  });
}

/** Returns whether one alternative of an SPDX expression has allowed licenses only. Nested expressions are not allowed. */
function isAllowed(expression: string, allowed: readonly string[]): boolean {
  const alternatives = expression.replace(/^\(([^()]*)\)$/, '$1').split(' OR ');
  return alternatives.some((alternative) =>
    alternative.split(' AND ').every((license) => allowed.includes(license)),
  );
}
