import type { z } from 'zod';
import { StartupError } from '../startup-error.ts';

/** A schema of environment variables. Each member parses a string and has a description. */
export type Variables = z.ZodObject;

/** One environment variable in the documentation. */
export interface VariableDescription {
  readonly name: string;
  /** Meaning, with the unit. */
  readonly description: string;
  /** Default value; undefined if there is none. */
  readonly default: string | undefined;
}

/**
 * Reads the configuration from environment variables. An empty variable counts as not set, since charts and Compose files produce empty
 * variables.
 * @throws StartupError (78) that lists every invalid variable, one per line
 */
export function loadConfig<Schema extends Variables>(
  schema: Schema,
  environment: Readonly<Record<string, string | undefined>>,
): Readonly<z.output<Schema>> {
  const values = Object.fromEntries(
    Object.keys(schema.shape)
      .map((name) => [name, environment[name]] as const)
      .filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = schema.safeParse(values);
  if (result.success) return Object.freeze(result.data);
  const lines = result.error.issues.map((issue) => `  ${describeIssue(issue, values)}`);
  throw new StartupError(
    `Invalid configuration. Correct these environment variables:\n${lines.join('\n')}`,
    78,
  );
}

/** Returns the variables of a schema in order, for the table in the documentation. */
export function describeVariables(schema: Variables): VariableDescription[] {
  const defaults = schema.partial().safeParse({});
  const values: Record<string, unknown> = defaults.success ? defaults.data : {};
  return Object.entries(schema.shape).map(([name, variable]) => ({
    name,
    description: (variable as z.ZodType).description ?? '',
    default: values[name] === undefined ? undefined : String(values[name]),
  }));
}

/** Describes an issue without the value, which may be a password. */
function describeIssue(issue: z.core.$ZodIssue, values: Readonly<Record<string, unknown>>): string {
  const name = issue.path.map(String).join('.');
  if (name !== '' && values[name] === undefined) return `${name} must be set`;
  return name === '' ? issue.message : `${name} ${issue.message}`;
}
