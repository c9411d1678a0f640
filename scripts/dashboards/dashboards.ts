import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { eventsDashboard } from './events.ts';
import { gatewayDashboard } from './gateway.ts';
import { overviewDashboard } from './overview.ts';
import { runtimeDashboard } from './runtime.ts';
import { serviceDashboard } from './service.ts';

/** Folder of the dashboards in the chart, which creates a ConfigMap from each file. */
const folder = 'charts/zerda/dashboards';

/** Returns all dashboards of Grafana. */
export function allDashboards(): Dashboard[] {
  return [overviewDashboard(), serviceDashboard(), gatewayDashboard(), eventsDashboard(), runtimeDashboard()];
}

/** Returns the generated files of the dashboards, in Grafana's classic JSON format. */
export function dashboardFiles(): [path: string, content: string][] {
  return allDashboards().map((built) => [
    `${folder}/${built.uid}.json`,
    `${JSON.stringify(built, undefined, 2)}\n`,
  ]);
}
