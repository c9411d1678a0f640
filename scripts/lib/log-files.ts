import { join } from 'node:path';

/** Returns the paths of the files that `npm start` and `npm run dev` write, and of their folder. */
export function logFiles(dataDir: string): Readonly<Record<'folder' | 'lines' | 'spans', string>> {
  const folder = join(dataDir, 'logs');
  return { folder, lines: join(folder, 'lines.jsonl'), spans: join(folder, 'spans.jsonl') };
}
