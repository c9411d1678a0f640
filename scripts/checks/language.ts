import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../lib/services.ts';

/** Words to avoid, each with its replacement. */
const rules: readonly { readonly word: RegExp; readonly reason: string }[] = [
  {
    word: /\b(whoever|somebody|nobody|everybody)\b/i,
    reason: 'name the subject: a client, a caller, a process',
  },
  { word: /\b(is|are|was|were) told\b/i, reason: 'receives, reads, is configured with' },
  { word: /\banswer(s|ed|ing)?\b/i, reason: 'response, respond; result' },
  {
    word: /\b(twins?|burial|bury|buried|oddity|oddities|strangers?)\b/i,
    reason: 'duplicate; dead-letter; malformed; untrusted or other client',
  },
  { word: /\b(let in|kept out|lets in|whose word)\b/i, reason: 'allow, accept; deny, reject; trusted' },
  { word: /\bunder ?way\b/i, reason: 'in flight, started' },
  { word: /\bwho asks\b/i, reason: 'the caller, the client' },
  { word: /\b(is|are) (away|gone)\b/i, reason: 'is unavailable; has disconnected' },
  {
    word: /(behaviour|colour|honour|neighbour|licence|favour|catalogue|acknowledgement|artefact)s?\b/i,
    reason: 'American spelling',
  },
  { word: /\.\.\.\{ [\w, ]+ \}[,)\]]/, reason: 'plain members need no spread' },
];

/** Occurrences to ignore: names in APIs, metrics and other projects. */
const exceptions: readonly RegExp[] = [
  // A key of the route table, and a column.
  /\banswer:|'answer'|`answer`|\.answer\b|"answer"|\banswer json|answer = null|set answer =|fingerprint, answer from/,
  // A label of a metric.
  /['"`]answered['"`]/,
  // The user of the operating system, and the subject without authentication.
  /['"`/]nobody['"`@]|\bnobody =|[ug]id: nobody|'everybody'|access: everybody/,
];

/** Extensions of the files to check. */
const extensions = ['ts', 'mjs', 'md', 'yaml', 'yml', 'txt', 'tpl', 'json', 'hcl'];

/** Files that are not checked: the list itself, generated files and the changelog. */
const exempt = /^((scripts|tests)\/checks\/language(\.test)?\.ts|package-lock\.json|CHANGELOG\.md)$/;

/** Returns the words of the list in the tracked files below `directory`, one line each. */
export async function findLanguageProblems(directory = root): Promise<string[]> {
  const { stdout } = await promisify(execFile)(
    'git',
    ['ls-files', '-z', ...extensions.map((extension) => `*.${extension}`)],
    { cwd: directory, maxBuffer: 16 * 1024 * 1024 },
  );
  const files = stdout.split('\0').filter((file) => file !== '' && !exempt.test(file));
  const texts = await Promise.all(
    files.map(async (file) => findWords(file, await readFile(join(directory, file), 'utf8').catch(() => ''))),
  );
  return texts.flat();
}

/** Returns the words of the list in one text. */
export function findWords(file: string, text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const rest = exceptions.reduce(
      (left, exception) => left.replaceAll(new RegExp(exception, 'g'), ''),
      line,
    );
    return rules
      .filter(({ word }) => word.test(rest))
      .map(({ word, reason }) => `${file}:${index + 1}: "${word.exec(rest)?.[0]}": ${reason}`);
  });
}
