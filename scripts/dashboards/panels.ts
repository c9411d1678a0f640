import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from '@grafana/grafana-foundation-sdk/common';
import {
  DashboardLinkBuilder,
  DashboardLinkType,
  type Panel,
  ThresholdsConfigBuilder,
  ThresholdsMode,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TableBuilder } from '@grafana/grafana-foundation-sdk/table';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import { dataSource } from './data-source.ts';
import { runbookUrl } from './runbook-url.ts';

/** A PromQL expression and the legend of its series; `{{label}}` is replaced by the value of the label. */
export type Query = readonly [expression: string, legend: string];

/** Grafana's names of units. */
export type Unit = 's' | 'reqps' | 'ops' | 'bytes' | 'percentunit' | 'short' | 'none';

export interface PanelOptions {
  readonly title: string;
  /** What the panel shows and when to act on it. */
  readonly description: string;
  readonly unit: Unit;
  /** Page of docs/runbooks that the panel links to, without extension. */
  readonly runbook?: string;
  /** Width in columns of the grid, which has 24. */
  readonly span?: number;
}

/** Height of a graph or table in rows of the grid. */
const panelHeight = 8;

/** Returns a graph of expressions over time. A minimum of 0 keeps small changes from looking large. */
export function graph({
  queries,
  ...options
}: PanelOptions & { readonly queries: readonly Query[] }): Builder<Panel> {
  const panel = new TimeSeriesBuilder()
    .height(panelHeight)
    .span(options.span ?? 8)
    .min(0)
    .fillOpacity(10)
    .legend(
      new VizLegendOptionsBuilder()
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi));
  queries.forEach(([expression, legend], index) => {
    const target = new DataqueryBuilder()
      .datasource(dataSource)
      .expr(expression)
      .legendFormat(legend)
      .range();
    // Recorded traces appear as points. The quantiles of a panel have the same ones.
    const hasExemplars = index === 0 && expression.includes('_bucket{');
    panel.withTarget(hasExemplars ? target.exemplar(true) : target);
  });
  return describe(panel, options);
}

/** Returns the current value of an expression. @param steps values from which the panel changes its color */
export function stat({
  expression,
  legend = '',
  steps = [],
  ...options
}: PanelOptions & {
  readonly expression: string;
  readonly legend?: string;
  readonly steps?: readonly { readonly from: number; readonly color: 'green' | 'orange' | 'red' }[];
}): Builder<Panel> {
  const [first, ...others] = steps;
  const panel = new StatBuilder()
    .height(4)
    .span(options.span ?? 4)
    .colorMode(BigValueColorMode.Value)
    .graphMode(BigValueGraphMode.None)
    .withTarget(new DataqueryBuilder().datasource(dataSource).expr(expression).legendFormat(legend).instant())
    .thresholds(
      new ThresholdsConfigBuilder()
        .mode(ThresholdsMode.Absolute)
        .steps([
          { value: null, color: first?.color ?? 'text' },
          ...others.map(({ from, color }) => ({ value: from, color })),
        ]),
    );
  return describe(panel, options);
}

/** A column of a table: the name of its heading, its expression and unit. */
export interface Column {
  readonly name: string;
  readonly expression: string;
  readonly unit: Unit;
}

/**
 * Returns a table with one row for each combination of `keys`.
 * @param keys labels of the rows, in the order of the columns
 */
export function table({
  keys,
  columns,
  ...options
}: PanelOptions & { readonly keys: readonly string[]; readonly columns: readonly Column[] }): Builder<Panel> {
  const panel = new TableBuilder().height(panelHeight).span(options.span ?? 24);
  const names = columns.map((_column, index) => `Value #${refId(index)}`);
  columns.forEach(({ expression }, index) => {
    panel.withTarget(
      new DataqueryBuilder()
        .datasource(dataSource)
        .refId(refId(index))
        .expr(expression)
        .format(PromQueryFormat.Table)
        .instant(),
    );
  });
  const isMerged = columns.length > 1;
  const valueNames = isMerged ? names : ['Value'];
  if (isMerged) panel.withTransformation({ id: 'merge', options: {} });
  panel.withTransformation({
    id: 'organize',
    options: {
      excludeByName: { Time: true },
      indexByName: Object.fromEntries([...keys, ...valueNames].map((name, index) => [name, index])),
      renameByName: Object.fromEntries(columns.map(({ name }, index) => [valueNames[index], name])),
    },
  });
  for (const { name, unit } of columns) panel.overrideByName(name, [{ id: 'unit', value: unit }]);
  return describe(panel, options);
}

function refId(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}

interface DescribedPanel extends Builder<Panel> {
  title(title: string): this;
  description(description: string): this;
  unit(unit: string): this;
  datasource(source: typeof dataSource): this;
  links(links: Builder<ReturnType<DashboardLinkBuilder['build']>>[]): this;
}

function describe<Kind extends DescribedPanel>(
  panel: Kind,
  { title, description, unit, runbook }: PanelOptions,
): Kind {
  panel.title(title).description(description).unit(unit).datasource(dataSource);
  return runbook === undefined ? panel : panel.links([runbookLink(runbook)]);
}

function runbookLink(runbook: string): DashboardLinkBuilder {
  return new DashboardLinkBuilder('Runbook')
    .type(DashboardLinkType.Link)
    .url(`${runbookUrl}/${runbook}.md`)
    .targetBlank(true);
}
