import type { Builder } from '@grafana/grafana-foundation-sdk/cog';
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  VariableRefresh,
  VariableSort,
} from '@grafana/grafana-foundation-sdk/dashboard';
import { dataSource, logsType, tracesType } from './data-source.ts';
import { exploreUrl } from './explore-url.ts';
import { runbookUrl } from './runbook-url.ts';

/** A row of a dashboard with its panels. */
export interface Row {
  readonly title: string;
  readonly panels: readonly Builder<Panel>[];
}

export interface DashboardOptions {
  /** Identifies the dashboard in its URL; also the name of its file. */
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Adds a variable for the service, for a dashboard that shows one at a time. False by default. */
  readonly selectsJob?: boolean;
  readonly rows: readonly Row[];
}

/** Tag of all dashboards, by which they link to each other. */
const tag = 'zerda';

/** Returns a dashboard with the variables, links and annotations that all have. */
export function dashboard({
  uid,
  title,
  description,
  selectsJob = false,
  rows,
}: DashboardOptions): Dashboard {
  // Clients reach the gateway, so its traces and log lines contain all requests.
  const service = selectsJob ? '$job' : 'gateway';
  const builder = new DashboardBuilder(`zerda / ${title}`)
    .uid(uid)
    .description(description)
    .tags([tag])
    .readonly()
    .timezone('browser')
    .time({ from: 'now-1h', to: 'now' })
    .refresh('30s')
    .tooltip(DashboardCursorSync.Crosshair)
    .variables([
      new DatasourceVariableBuilder('datasource').label('Data source').type('prometheus'),
      labelVariable('namespace', 'Namespace', 'build_info'),
      ...(selectsJob ? [labelVariable('job', 'Service', 'build_info{namespace="$namespace"}')] : []),
      new DatasourceVariableBuilder('traces').label('Traces').type(tracesType),
      new DatasourceVariableBuilder('logs').label('Logs').type(logsType),
    ])
    .link(
      new DashboardLinkBuilder('Dashboards')
        .type(DashboardLinkType.Dashboards)
        .tags([tag])
        .asDropdown(true)
        .includeVars(true)
        .keepTime(true),
    )
    .link(
      new DashboardLinkBuilder('Runbooks')
        .type(DashboardLinkType.Link)
        .url(`${runbookUrl}/README.md`)
        .targetBlank(true),
    )
    .link(linkToExplore('Traces', '$traces', { queryType: 'search', service }))
    .link(linkToExplore('Logs', '$logs', { expr: `service:=${service}`, queryType: 'instant' }))
    .annotation(
      new AnnotationQueryBuilder()
        .name('Deployments')
        .datasource(dataSource)
        .enable(true)
        .iconColor('blue')
        .expr(deployments)
        .step('60s')
        .titleFormat('{{job}} {{version}}'),
    );
  for (const { title: rowTitle, panels } of rows) {
    builder.withRow(new RowBuilder(rowTitle));
    for (const panel of panels) builder.withPanel(panel);
  }
  return finish(builder.build());
}

function linkToExplore(
  title: string,
  source: string,
  query: Readonly<Record<string, unknown>>,
): DashboardLinkBuilder {
  return new DashboardLinkBuilder(title)
    .type(DashboardLinkType.Link)
    .url(exploreUrl(source, query))
    .targetBlank(true);
}

/** A version that a service did not have two minutes ago. */
const deployments =
  'count by (job, version) (build_info{namespace="$namespace"}) unless count by (job, version) (build_info{namespace="$namespace"} offset 2m)';

function labelVariable(name: string, label: string, series: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(dataSource)
    .query(`label_values(${series}, ${name})`)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc);
}

/** Adds the ids of panels, which links to a single panel contain, and shows links and annotations outside of a menu. */
function finish(built: Dashboard): Dashboard {
  return {
    ...built,
    panels: (built.panels ?? []).map((panel, index) => ({ ...panel, id: index + 1 })),
    links: (built.links ?? []).map(({ placement: _, ...link }) => link),
    annotations: {
      list: (built.annotations?.list ?? []).map(({ placement: _, ...annotation }) => annotation),
    },
  };
}
