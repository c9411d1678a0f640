import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { root, services } from '../lib/services.ts';

/** Files that call other services. */
const readsResponses = /^import [^;]*'@zerda\/upstream\/|\bfetch\(/m;

/** Definitions of strict objects. The envelopes of the contracts are strict, too. */
const definesStrict = /\bstrictObject\(|\.strict\(\)|'@zerda\/contracts\/protocol\/envelope'/;

const contractImport = /^import (?!type )\{([^}]*)\} from '@zerda\/contracts\/([^/']+)\/([^']+)';/gm;

/**
 * Returns the places in the services below `directory` (default: the repository) that read responses of other services with strict
 * objects, one line each. A strict object rejects a member that a later version of the other service adds.
 */
export async function findStrictResponses(directory = root): Promise<string[]> {
  const findings: string[] = [];
  for (const { name: service } of services) {
    for (const file of await findSources(join(directory, 'packages', service, 'src'))) {
      const source = await readFile(file, 'utf8');
      const report = (problem: string) =>
        void findings.push(`${relative(directory, file)}: ${problem}. Use z.object for responses.`);
      const isClient = file.includes(join('src', 'clients')) || readsResponses.test(source);
      if (isClient && definesStrict.test(source))
        report('defines a strict object beside a call of a service');
      for (const [, names = '', owner = '', module = ''] of source.matchAll(contractImport)) {
        if (owner === service || !services.some(({ name }) => name === owner)) continue;
        const path = join(directory, 'packages/contracts/src', owner, `${module}.ts`);
        const exported = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
        for (const { name, alias } of parseNames(names)) {
          if (isStrict(exported[name])) report(`imports ${name} of ${owner}, which is strict`);
          for (const members of findParsed(source, alias))
            if (isStrict(members.reduce(memberOf, exported[name])))
              report(`parses with ${[alias, ...members].join('.')} of ${owner}, which is strict`);
        }
      }
    }
  }
  return findings;
}

async function findSources(folder: string): Promise<string[]> {
  const files = await readdir(folder, { recursive: true });
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .sort()
    .map((file) => join(folder, file));
}

/** Returns the values of an import clause, without types. */
function parseNames(clause: string): { name: string; alias: string }[] {
  return clause
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '' && !part.startsWith('type '))
    .map((part) => {
      const [name = '', alias = name] = part.split(/\s+as\s+/);
      return { name, alias };
    });
}

/** Returns the member paths of the expressions `<alias>.<member>.parse(` in a source. */
function findParsed(source: string, alias: string): string[][] {
  const parsed = new RegExp(`\\b${alias}((?:\\s*\\.\\w+)+?)\\s*\\.(?:parse|safeParse)(?:Async)?\\(`, 'g');
  return [...source.matchAll(parsed)].map(([, members = '']) =>
    members.split('.').flatMap((member) => member.trim() || []),
  );
}

function memberOf(value: unknown, member: string): unknown {
  return (value as Record<string, unknown> | undefined)?.[member];
}

/** Returns whether a value is a schema that rejects unknown members, at any depth. */
function isStrict(value: unknown): boolean {
  if (!(value instanceof z.ZodType)) return false;
  // In the input of an object that is not strict, further members are allowed.
  const schema = JSON.stringify(z.toJSONSchema(value, { io: 'input', unrepresentable: 'any' }));
  return schema.includes('"additionalProperties":false');
}
