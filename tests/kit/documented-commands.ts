import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/lib/services.ts';

/** A bash block of a page, with the block of output that follows it. */
export interface DocumentedCommand {
  /** Line of the page that the command starts at, from 1. */
  readonly line: number;
  readonly command: string;
  /** Undefined if the page shows no output. */
  readonly output: { readonly language: 'json' | 'text'; readonly text: string } | undefined;
}

/** Returns the bash blocks of a page, in order. */
export function readCommands(page: string): DocumentedCommand[] {
  const text = readFileSync(join(root, page), 'utf8');
  const blocks = text.matchAll(/^```bash\n(.*?)^```$(?:\n\n```(json|text)\n(.*?)^```$)?/gms);
  return [...blocks].map(({ index, 1: command = '', 2: language, 3: output = '' }) => ({
    line: text.slice(0, index).split('\n').length + 1,
    command,
    output: language === 'json' || language === 'text' ? { language, text: output } : undefined,
  }));
}

/** Returns documented or printed output in a form that differs only in what readers rely on: not in times, ids or white space. */
export function comparableOutput(text: string, language: 'json' | 'text'): unknown {
  const normalized = text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '(time)')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '(uuid)');
  if (language === 'json') return JSON.parse(normalized);
  return normalized
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}
