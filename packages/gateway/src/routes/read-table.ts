import { readFile } from 'node:fs/promises';
import { StartupError } from '@zerda/chassis/startup-error';
import {
  type Document,
  isCollection,
  isMap,
  isNode,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import type { z } from 'zod';
import { findConflicts, type TableFinding } from './conflicts.ts';
import { type RouteTable, routeTable } from './table.ts';

/**
 * Reads the table of routes from a YAML or JSON file.
 * @throws StartupError (78) with every error of the file, each with its line
 */
export async function readTable(file: string): Promise<RouteTable> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(
      `the table of routes cannot be read (${error.code}): ${file}; set ROUTES_FILE`,
      78,
    );
  });
  return parseTable(text, file);
}

/** @throws StartupError (78), which calls the text `name` */
export function parseTable(text: string, name: string): RouteTable {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => lines.linePos(offset).line;
  if (document.errors.length > 0) {
    throw invalid(
      name,
      document.errors.map(({ message, pos }) => ({ line: at(pos[0]), message })),
    );
  }
  const content: unknown = document.toJS() ?? {};
  const result = routeTable.safeParse(content, { reportInput: true });
  const findings = [
    ...(result.success ? [] : result.error.issues.flatMap(describe)),
    ...findConflicts(content),
  ];
  if (result.success && findings.length === 0) return result.data;
  throw invalid(
    name,
    findings.map(({ path, message }) => ({
      line: at(offsetOf(document, path)),
      message: `${path.map(String).join('.') || 'the table'} ${message}`,
    })),
  );
}

interface TableError {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly message: string;
}

function invalid(name: string, errors: readonly TableError[]): StartupError {
  const sorted = errors.toSorted((a, b) => a.line - b.line);
  return new StartupError(
    `The table of routes is wrong:\n${sorted.map(({ line, message }) => `  ${name}:${line} ${message}`).join('\n')}`,
    78,
  );
}

/** An unknown key is found where it stands, not where it is missing. */
function describe(issue: z.core.$ZodIssue): TableFinding[] {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ path: [...issue.path, key], message: 'is not a key of the table' }));
    case 'invalid_key':
      return issue.issues.map(({ message }) => ({ path: issue.path, message: `as a name ${message}` }));
    case 'invalid_type':
      return [
        {
          path: issue.path,
          message: issue.input === undefined ? 'must be set' : `must be ${issue.expected}`,
        },
      ];
    case 'invalid_value':
      return [{ path: issue.path, message: `must be one of ${issue.values.map(String).join(', ')}` }];
    case 'invalid_union':
      return describeForms(issue);
    default:
      return [{ path: issue.path, message: issue.message }];
  }
}

/** A value that may have several forms is told what is wrong with the one that it has, else which there are. */
function describeForms({ errors, path }: z.core.$ZodIssueInvalidUnion): TableFinding[] {
  const forms = errors.map((issues) =>
    issues.flatMap((inner) => describe({ ...inner, path: [...path, ...inner.path] })),
  );
  const meant = errors.findIndex((issues) =>
    issues.every((inner) => inner.path.length > 0 || !formOf.has(inner.code ?? '')),
  );
  const found = forms[meant];
  if (found !== undefined) return found;
  return [{ path, message: [...new Set(forms.flat().map(({ message }) => message))].join(', or ') }];
}

/** What says that a value has another form altogether. */
const formOf: ReadonlySet<string> = new Set(['invalid_type', 'invalid_value']);

/** Where the nearest part of the path is that the file has: a key where there is one, since its value may be lines below. */
function offsetOf(document: Document.Parsed, path: readonly PropertyKey[]): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const step of path) {
    if (!isCollection(node)) break;
    const key = isMap(node)
      ? node.items
          .map((pair) => pair.key)
          .find((candidate) => isScalar(candidate) && candidate.value === step)
      : undefined;
    const value = node.get(step, true);
    if (key === undefined && !isNode(value)) break;
    offset = startOf(key as Node | undefined) ?? startOf(value as Node) ?? offset;
    node = value;
  }
  return offset;
}

function startOf(node: Node | undefined): number | undefined {
  return node?.range?.[0];
}
