import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { SyntaxNode } from '@lezer/common';
import { parser } from '@prometheus-io/lezer-promql';
import { parse } from 'yaml';
import { allDashboards } from '../../../scripts/dashboards/dashboards.ts';
import { rulesFile } from '../../../scripts/lib/chart.ts';
import { root } from '../../../scripts/lib/services.ts';

/** A PromQL expression of the repository. */
export interface Expression {
  /** File and panel, rule or line. */
  readonly place: string;
  readonly text: string;
}

/** A recording rule or an alert. */
export interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The rules with the default values of the chart. */
export const rules: readonly Rule[] = (
  parse(readFileSync(join(root, rulesFile), 'utf8')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);

/** Values of the variables of dashboards, for a Prometheus that scrapes every second. */
const variables: Readonly<Record<string, string>> = { namespace: 'zerda', __rate_interval: '15s' };

/**
 * Returns the expressions of dashboards, rules and documentation, with the variables of dashboards replaced.
 * @param job value of the variable `job`
 */
export function allExpressions(job = 'order-service'): Expression[] {
  return [...dashboardExpressions({ ...variables, job }), ...ruleExpressions(), ...documentedExpressions()];
}

function dashboardExpressions(values: Readonly<Record<string, string>>): Expression[] {
  return allDashboards().flatMap(({ uid = '', panels = [], annotations }) => [
    ...panels.flatMap((panel) =>
      ((('targets' in panel ? panel.targets : undefined) ?? []) as { expr?: string }[]).map(
        ({ expr = '' }) => ({
          place: `${uid}: ${panel.title}`,
          text: replaceVariables(expr, values),
        }),
      ),
    ),
    ...(annotations?.list ?? []).map(({ name, expr = '' }) => ({
      place: `${uid}: annotation ${name}`,
      text: replaceVariables(expr, values),
    })),
  ]);
}

function replaceVariables(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$(\w+)/g, (whole, name: string) =>
    /^\d+$/.test(name) ? whole : (values[name] ?? whole),
  );
}

function ruleExpressions(): Expression[] {
  return rules.map(({ alert, record, labels, expr }) => ({
    place: `${rulesFile}: ${[alert ?? record, ...Object.values(labels ?? {})].join(' ')}`,
    text: expr,
  }));
}

/** Returns the blocks of the documentation that are marked as PromQL. */
function documentedExpressions(): Expression[] {
  return readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) => {
      const path = join(root, 'docs', file);
      const blocks = readFileSync(path, 'utf8').matchAll(/^```promql\n([\s\S]*?)\n```$/gm);
      return [...blocks].map(([, text = '']) => ({ place: relative(root, path), text }));
    });
}

/** Operators whose result is empty where a condition is false. */
const comparisons = ['Gtr', 'Lss', 'Gte', 'Lte', 'Eql', 'Neq'];

/**
 * Returns the parts of an expression that have data while its conditions are false: the left sides of comparisons, and the argument of
 * `absent`.
 */
export function withoutConditions({ place, text }: Expression): Expression[] {
  return partsOf(parser.parse(text).topNode).map(([from, to]) => ({ place, text: text.slice(from, to) }));
}

function partsOf(node: SyntaxNode): (readonly [from: number, to: number])[] {
  const children = childrenOf(node);
  const operators = children.map(({ name }) => name);
  if (node.name === 'BinaryExpr') {
    const left = children[0];
    const right = children.at(-1);
    if (left === undefined || right === undefined) return [];
    if (operators.includes('And') || operators.includes('Or') || operators.includes('Unless'))
      return [...partsOf(left), ...partsOf(right)];
    if (operators.some((name) => comparisons.includes(name))) return partsOf(left);
  }
  const isAbsent = node.name === 'FunctionCall' && node.firstChild?.firstChild?.name === 'Absent';
  if (isAbsent || node.name === 'PromQL' || node.name === 'FunctionCallBody')
    return children.filter(({ name }) => name !== 'FunctionIdentifier').flatMap(partsOf);
  return [[node.from, node.to]];
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const children: SyntaxNode[] = [];
  for (let child = node.firstChild; child !== null; child = child.nextSibling) children.push(child);
  return children;
}

/** Returns the metrics that an expression selects. @throws Error if it is not valid PromQL */
export function metricsOf({ place, text }: Expression): string[] {
  const names: string[] = [];
  parser.parse(text).iterate({
    enter(node) {
      if (node.type.isError) throw new Error(`${place}: no valid PromQL at character ${node.from}:\n${text}`);
      if (node.name === 'VectorSelector') {
        const name = node.node.getChild('Identifier');
        if (name === null) throw new Error(`${place}: a selector without a metric:\n${text}`);
        names.push(text.slice(name.from, name.to));
      }
    },
  });
  return names;
}
