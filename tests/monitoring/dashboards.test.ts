import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { allDashboards } from '../../scripts/dashboards/dashboards.ts';
import { runbookUrl } from '../../scripts/dashboards/runbook-url.ts';
import { root } from '../../scripts/lib/services.ts';

// The tests check the shape of the dashboards, which the types leave open.
// biome-ignore lint/suspicious/noExplicitAny: see above
const dashboards = allDashboards() as any[];

describe('dashboards', () => {
  it('have different names', () => {
    const uids = dashboards.map(({ uid }) => uid);
    assert.equal(uids.length, 5);
    assert.equal(new Set(uids).size, uids.length);
  });

  for (const { uid, title, description, panels, templating, links } of dashboards) {
    describe(title, () => {
      const shown = panels.filter(({ type }: { type: string }) => type !== 'row');

      it('has panels with a title, a description, a unit and data of the selected source', () => {
        assert.match(description, /\.$/);
        assert.ok(shown.length >= 7);
        for (const panel of shown) {
          assert.match(panel.description, /\.$/, panel.title);
          assert.ok(panel.title && panel.fieldConfig.defaults.unit, panel.title);
          assert.ok(panel.targets.length > 0, panel.title);
          for (const { datasource, expr } of panel.targets) {
            assert.equal(datasource.uid, '$datasource', panel.title);
            assert.match(expr, /namespace="\$namespace"/, panel.title);
          }
        }
        const titles = shown.map((panel: { title: string }) => panel.title);
        assert.equal(new Set(titles).size, titles.length, titles.join(', '));
      });

      it('has panels beside and below each other, without overlaps', () => {
        const cells = new Set<string>();
        for (const { title: name, gridPos } of panels) {
          const { x, y, w, h } = gridPos;
          assert.ok(x + w <= 24, name);
          for (let column = x; column < x + w; column += 1)
            for (let row = y; row < y + h; row += 1) {
              assert.ok(!cells.has(`${column} ${row}`), `${name} overlaps another panel`);
              cells.add(`${column} ${row}`);
            }
        }
        assert.equal(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length);
      });

      it('links to existing runbooks', () => {
        const urls = [...links, ...shown.flatMap((panel: { links?: { url: string }[] }) => panel.links ?? [])]
          .map(({ url }: { url?: string }) => url)
          .filter((url): url is string => url !== undefined && !url.startsWith('/explore?'));
        assert.ok(urls.length > 3, uid);
        for (const url of urls) {
          assert.ok(url.startsWith(`${runbookUrl}/`), url);
          assert.ok(existsSync(join(root, 'docs/runbooks', url.slice(runbookUrl.length + 1))), url);
        }
      });

      it('links to the traces and log lines of the time range', () => {
        const panes = links
          .filter(({ url = '' }: { url?: string }) => url.startsWith('/explore?'))
          .map(({ url }: { url: string }) => JSON.parse(new URLSearchParams(url).get('panes') ?? '').a);
        assert.deepEqual(
          panes.map(({ datasource, range }: { datasource: string; range: unknown }) => [datasource, range]),
          ['$traces', '$logs'].map((source) => [source, { from: '$__from', to: '$__to' }]),
        );
        for (const source of ['traces', 'logs'])
          assert.equal(
            templating.list.find(({ name }: { name: string }) => name === source)?.type,
            'datasource',
          );
      });

      it('shows recorded traces once on each graph of a histogram', () => {
        for (const { type, title: name, targets } of shown) {
          const withTraces = targets.filter(({ exemplar }: { exemplar?: boolean }) => exemplar === true);
          const isHistogram = type === 'timeseries' && /_bucket\{/.test(targets[0].expr);
          assert.equal(withTraces.length, isHistogram ? 1 : 0, name);
        }
      });

      it('has a variable for each one in its expressions', () => {
        const names = templating.list.map(({ name }: { name: string }) => name);
        const used = new Set(
          [...JSON.stringify([panels, links]).matchAll(/\$([a-z]\w*)/g)].map(([, name]) => name),
        );
        assert.deepEqual([...used].sort(), names.sort());
      });
    });
  }
});
