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
import { type RouteTable, type TableSchemas, tableSchemas } from './table.ts';

/**
 * Reads the route table from a YAML or JSON file.
 * @throws StartupError (78) that lists every error with its line
 */
export async function readTable(file: string): Promise<RouteTable> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new StartupError(
      `The route table cannot be read (${error.code}): ${file}. Set ROUTES_FILE to the path of a readable file.`,
      78,
    );
  });
  return parseTable(text, file);
}

/**
 * Parses a route table.
 * @param name name of the text in error messages
 * @throws StartupError (78) that lists every error with its line
 */
export function parseTable(text: string, name: string, schemas: TableSchemas = tableSchemas): RouteTable {
  const lines = new LineCounter();
  const yamlDocument = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const lineAt = (offset: number) => lines.linePos(offset).line;
  if (yamlDocument.errors.length > 0) {
    throw invalidTable(
      name,
      yamlDocument.errors.map(({ message, pos }) => ({ line: lineAt(pos[0]), message })),
    );
  }
  const content: unknown = yamlDocument.toJS() ?? {};
  const result = schemas.table.safeParse(content, { reportInput: true });
  const findings = [
    ...(result.success ? [] : result.error.issues.flatMap(describeIssue)),
    ...findConflicts(content, schemas),
  ];
  if (result.success && findings.length === 0) return result.data;
  throw invalidTable(
    name,
    findings.map(({ path, message }) => ({
      line: lineAt(offsetOf(yamlDocument, path)),
      message: `${path.map(String).join('.') || 'the table'} ${message}`,
    })),
  );
}

interface TableError {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly message: string;
}

function invalidTable(name: string, errors: readonly TableError[]): StartupError {
  const sorted = errors.toSorted((a, b) => a.line - b.line);
  return new StartupError(
    `The route table is invalid:\n${sorted.map(({ line, message }) => `  ${name}:${line} ${message}`).join('\n')}`,
    78,
  );
}

/** Converts an issue of the schema. An unknown key is reported at its own location, not at that of its parent. */
function describeIssue(issue: z.core.$ZodIssue): TableFinding[] {
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

/** Describes a value that matches no form of a union: the errors of the form that it resembles, otherwise all forms. */
function describeForms({ errors, path }: z.core.$ZodIssueInvalidUnion): TableFinding[] {
  const forms = errors.map((issues) =>
    issues.flatMap((inner) => describeIssue({ ...inner, path: [...path, ...inner.path] })),
  );
  const matchingForm = errors.findIndex((issues) =>
    issues.every((inner) => inner.path.length > 0 || !formIssues.has(inner.code ?? '')),
  );
  const formFindings = forms[matchingForm];
  if (formFindings !== undefined) return formFindings;
  return [{ path, message: [...new Set(forms.flat().map(({ message }) => message))].join(', or ') }];
}

/** Issue codes of a value that does not resemble the form at all. */
const formIssues: ReadonlySet<string> = new Set(['invalid_type', 'invalid_value']);

/** Returns the offset of the deepest existing part of the path: of the key if there is one, as values may be lines below. */
function offsetOf(yamlDocument: Document.Parsed, path: readonly PropertyKey[]): number {
  let node: unknown = yamlDocument.contents;
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
