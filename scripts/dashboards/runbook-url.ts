/**
 * Base URL of the runbooks in the generated dashboards: the default of the chart value `monitoring.runbookUrl`. The chart replaces it
 * by that value.
 */
export const runbookUrl = 'https://github.com/you/zerda/blob/main/docs/runbooks';
