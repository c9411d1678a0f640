import type { z } from 'zod';
import { StartupError } from '../startup-error.ts';

/** A schema whose members are environment variables: each a schema of text, with a description. */
export type Variables = z.ZodObject;

/** One environment variable as the documentation shows it. */
export interface VariableDescription {
  readonly name: string;
  /** What it means, with its unit. */
  readonly description: string;
  /** Value that holds when it is not set; undefined when it has none. */
  readonly default: string | undefined;
}

/**
 * Reads the configuration from environment variables. A variable set to nothing counts as not set, as charts and
 * compose files leave it.
 * @throws StartupError (78) that names every variable that does not fit, one a line
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
    `The configuration is wrong; set these environment variables:\n${lines.join('\n')}`,
    78,
  );
}

/** The variables of a schema in its order: the source of the table in the documentation. */
export function describeVariables(schema: Variables): VariableDescription[] {
  const defaults = schema.partial().safeParse({});
  const values: Record<string, unknown> = defaults.success ? defaults.data : {};
  return Object.entries(schema.shape).map(([name, variable]) => ({
    name,
    description: (variable as z.ZodType).description ?? '',
    default: values[name] === undefined ? undefined : String(values[name]),
  }));
}

/** Values are not printed: a variable may hold a password. */
function describeIssue(issue: z.core.$ZodIssue, values: Readonly<Record<string, unknown>>): string {
  const name = issue.path.map(String).join('.');
  if (name !== '' && values[name] === undefined) return `${name} must be set`;
  return name === '' ? issue.message : `${name} ${issue.message}`;
}
