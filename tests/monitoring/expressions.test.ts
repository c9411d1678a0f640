import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { allExpressions, metricsOf, rules } from './lib/expressions.ts';
import { seriesNames } from './lib/metric-names.ts';

/** Series that Prometheus itself creates. */
const ownSeries = ['up', 'ALERTS'];

describe('expressions of dashboards, rules and documentation', () => {
  it('are valid PromQL and select only metrics that exist', async () => {
    const known = new Set([
      ...(await seriesNames()),
      ...ownSeries,
      ...rules.flatMap(({ record }) => record ?? []),
    ]);
    const expressions = allExpressions();
    assert.ok(expressions.length > 150, `${expressions.length} expressions`);
    const unknown = expressions.flatMap((expression) =>
      metricsOf(expression)
        .filter((name) => !known.has(name))
        .map((name) => `${expression.place}: ${name}`),
    );
    assert.deepEqual(unknown, []);
  });

  it('contain no variable without a value', () => {
    const left = allExpressions().filter(({ text }) => /\$[a-z_]/i.test(text));
    assert.deepEqual(left, []);
  });

  it('use every recorded series except the inputs of others', () => {
    const used = new Set(allExpressions().flatMap(metricsOf));
    const unused = new Set(rules.flatMap(({ record }) => record ?? []).filter((name) => !used.has(name)));
    assert.deepEqual([...unused], []);
  });
});

describe('the parser of expressions', () => {
  for (const [what, text] of [
    ['an unbalanced parenthesis', 'sum(rate(x[5m])'],
    ['an unclosed range', 'rate(x[5m)'],
    ['two expressions', 'x y'],
  ] as const) {
    it(`rejects ${what}`, () => {
      assert.throws(() => metricsOf({ place: 'here', text }), /^Error: here: no valid PromQL/);
    });
  }

  it('finds the metrics of an expression', () => {
    assert.deepEqual(metricsOf({ place: '', text: 'sum(rate(a_total{b="c"}[5m])) / on (d) e' }), [
      'a_total',
      'e',
    ]);
  });
});
