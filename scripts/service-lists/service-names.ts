import { StartupError } from '../../packages/chassis/src/startup-error.ts';

/** Names of a service and of its entity, in lower case with hyphens. */
export interface ServiceNames {
  /** Name of the service, such as `payments` or `payment-service`. */
  readonly service: string;
  /** Singular of the entity, such as `payment`. */
  readonly entity: string;
  /** Plural of the entity, such as `payments`: its collection in paths, tables and events. */
  readonly plural: string;
}

/** A short DNS label, because names of Kubernetes objects add the release and suffixes to it. */
const pattern = /^(?=.{1,30}$)[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$/;

/**
 * Derives the names from that of the service: `payments` and `payment-service` have the entity `payment`.
 * @param entity singular of the entity, if it does not follow from the name
 * @throws StartupError if a name is invalid
 */
export function serviceNames(service: string, entity?: string): ServiceNames {
  const stem = stemOf(service);
  const singular = entity ?? singularOf(stem);
  for (const name of [service, singular])
    if (!pattern.test(name))
      throw new StartupError(
        `"${name}" is not a valid name: use at most 30 lower-case letters, digits and hyphens, such as payments`,
      );
  return { service, entity: singular, plural: pluralOf(singular) };
}

/** Returns the name without the suffix `-service`. */
export function stemOf(service: string): string {
  return service.replace(/-service$/, '');
}

function singularOf(name: string): string {
  if (/[^aeiou]ies$/.test(name)) return name.replace(/ies$/, 'y');
  if (/(?:[sxz]|ch|sh)es$/.test(name)) return name.slice(0, -2);
  return /[^s]s$/.test(name) ? name.slice(0, -1) : name;
}

function pluralOf(name: string): string {
  if (/[^aeiou]y$/.test(name)) return name.replace(/y$/, 'ies');
  return /(?:[sxz]|ch|sh)$/.test(name) ? `${name}es` : `${name}s`;
}

/** Returns a name in the spellings of code, paths and text. */
export function spellings(name: string) {
  const words = name.split('-');
  const pascal = words.map(capitalized).join('');
  return {
    kebab: name,
    snake: words.join('_'),
    upper: words.join('_').toUpperCase(),
    pascal,
    camel: pascal.charAt(0).toLowerCase() + pascal.slice(1),
    text: words.join(' '),
    sentence: capitalized(words.join(' ')),
  };
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A text to replace, and its replacement. */
export type Replacement = readonly [from: string, to: string];

/** Returns the replacements that rename one name to another, in every spelling. */
export function renaming(from: string, to: string): Replacement[] {
  const [old, renamed] = [spellings(from), spellings(to)];
  return (Object.keys(old) as (keyof typeof old)[]).map((spelling) => [old[spelling], renamed[spelling]]);
}

/** Applies all replacements at once, longest first, so that no replacement is replaced again. The texts have no special characters. */
export function replaceAll(text: string, replacements: readonly Replacement[]): string {
  const byText = new Map(replacements.toReversed());
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length);
  return text.replaceAll(new RegExp(longestFirst.join('|'), 'g'), (found) => byText.get(found) ?? found);
}
