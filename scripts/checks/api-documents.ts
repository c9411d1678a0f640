import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { documents } from '../../packages/contracts/src/openapi/documents.ts';
import { root } from '../lib/services.ts';

/** Returns the argument of `redocly lint` for a service's document: its name, if redocly.yaml has rules for it, or its file. */
export function apiDocumentOf(service: string): string {
  return configuredNames().includes(service) ? service : `packages/contracts/openapi/${service}.json`;
}

/** Returns the arguments of `redocly lint` for all documents. */
export function apiDocuments(): string[] {
  return [...new Set([...configuredNames(), ...[...documents.keys()].map(apiDocumentOf)])];
}

function configuredNames(): string[] {
  const { apis } = parse(readFileSync(join(root, 'redocly.yaml'), 'utf8')) as {
    apis: Record<string, object>;
  };
  return Object.keys(apis);
}
