/** The Prometheus that the variable `datasource` selects. */
export const dataSource = { type: 'prometheus', uid: '$datasource' } as const;

/** Type of data source of the variable `traces`. */
export const tracesType = 'jaeger';

/** Type of data source of the variable `logs`: the plugin of VictoriaLogs. */
export const logsType = 'victoriametrics-logs-datasource';
