import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { allDashboards } from '../../scripts/dashboards/dashboards.ts';
import { root } from '../../scripts/lib/services.ts';
import { metricNames } from './lib/metric-names.ts';
import { describeWithPromtool, runPromtool } from './lib/promtool.ts';

const page = readFileSync(join(root, 'docs/observability.md'), 'utf8');

/** Returns the text of a section of the page. */
function sectionOf(heading: string): string {
  return page.split('\n## ').find((section) => section.startsWith(`${heading}\n`)) ?? '';
}

describe('docs/observability.md', () => {
  it('lists every metric of the services, and no other', () => {
    const rows = sectionOf('Metrics').match(/^\|.*`.*\|$/gm) ?? [];
    const listed = rows.flatMap((row) => [...row.matchAll(/`(\w+)`/g)].map(([, name]) => name));
    assert.deepEqual(listed.sort(), [...metricNames()].sort());
  });

  it('lists every dashboard', () => {
    const listed = [...sectionOf('Dashboards').matchAll(/^\| (.+?) \|/gm)].map(
      ([, title]) => `zerda / ${title}`,
    );
    for (const { title } of allDashboards()) assert.ok(listed.includes(String(title)), title);
  });
});

describeWithPromtool('the scrape configuration of docs/observability.md', (promtool) => {
  it('is valid', async () => {
    const [, configuration = ''] = /^```yaml\n(scrape_configs:[\s\S]*?)\n```$/m.exec(page) ?? [];
    // Debian's program has no discovery of pods.
    const checked = configuration.replace(/kubernetes_sd_configs: .*/, 'static_configs: []');
    assert.notEqual(checked, configuration);
    await runPromtool(promtool, ['check', 'config'], checked);
  });
});
