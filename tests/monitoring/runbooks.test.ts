import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { root } from '../../scripts/lib/services.ts';
import { rules } from './lib/expressions.ts';

const folder = join(root, 'docs/runbooks');
const index = readFileSync(join(folder, 'README.md'), 'utf8');
const pages = readdirSync(folder).filter((file) => file !== 'README.md');
const alerts = rules.filter(({ alert }) => alert !== undefined);

/** Names of the objects that the chart installs, by kind in lower case. */
const objects = parseAllDocuments(readFileSync(join(root, 'tests/chart/golden/bundled.yaml'), 'utf8')).map(
  (document) => {
    const { kind, metadata } = document.toJSON();
    return `${String(kind).toLowerCase()}/${metadata.name}`;
  },
);

describe('alerts', () => {
  it('have a severity, a summary, a description and a runbook', () => {
    assert.ok(alerts.length > 20);
    for (const { alert, labels, annotations, for: duration } of alerts) {
      assert.match(String(labels?.severity), /^(page|ticket)$/, alert);
      assert.match(String(annotations?.summary), /^\S.*\.$/, alert);
      assert.match(String(annotations?.description), /^\S.*\.$/, alert);
      assert.match(String(duration), /^\d+[sm]$/, alert);
      const page = annotations?.runbook_url?.split('/docs/runbooks/')[1] ?? '';
      assert.ok(pages.includes(page), `${alert}: ${page}`);
      assert.match(readFileSync(join(folder, page), 'utf8'), new RegExp(`^# ${alert}\n`), page);
    }
  });

  it('have exactly one runbook each, which the index lists', () => {
    const named = new Set(alerts.map(({ annotations }) => annotations?.runbook_url?.split('/').at(-1)));
    assert.deepEqual(
      pages.filter((page) => !named.has(page)),
      [],
    );
    const listed = [...index.matchAll(/^\| \[Zerda\w+\]\(([\w-]+\.md)\)/gm)].map(([, page]) => page);
    assert.deepEqual(listed.sort(), pages.sort());
  });
});

describe('runbooks', () => {
  for (const page of pages) {
    const text = readFileSync(join(folder, page), 'utf8');

    it(`${page} has meaning, impact, how to confirm and how to mend, with severity as in its alert`, () => {
      assert.deepEqual(
        [...text.matchAll(/^## (.+)$/gm)].map(([, heading]) => heading),
        ['Meaning', 'Impact', 'Confirm', 'Mend'],
      );
      const severities = new Set(
        alerts
          .filter(({ annotations }) => annotations?.runbook_url?.endsWith(`/${page}`))
          .map(({ labels }) => labels?.severity),
      );
      const stated = /^Severity: (.+)\.$/m.exec(text)?.[1] ?? '';
      for (const severity of ['page', 'ticket'])
        assert.equal(stated.includes(severity), severities.has(severity), stated);
    });

    it(`${page} names only objects that the chart installs`, () => {
      const named = [
        ...text.matchAll(/\b(deployment|statefulset)\/(zerda-[\w-]+)|exec .*? (zerda-[\w-]+)-0 --/g),
      ].map(([, kind = 'statefulset', name, set]) => `${kind}/${name ?? set}`);
      assert.deepEqual(
        named.filter((name) => !objects.includes(name)),
        [],
      );
    });
  }
});
