import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { parseTable } from '../routes/read-table.ts';
import { ask, sendJson, startGateway } from '../testing.ts';

const page = readFileSync(new URL('../../../../docs/gateway.md', import.meta.url), 'utf8');

it('the example of a cache in docs/gateway.md does what is said of it', async (context) => {
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  let price = 1;
  const gateway = await startGateway(context, {
    table: parseTable(example.replaceAll('catalogue', 'user-service'), 'docs/gateway.md'),
    users: (incoming, response) => {
      incoming.resume();
      if (incoming.method === 'PUT') price += 1;
      sendJson(response, 200, { price }, { 'cache-control': 'max-age=60' });
    },
  });
  const url = `${gateway.url}/api/products/1`;
  const read = async () => {
    const { text, headers } = await ask(url);
    return `${JSON.parse(text).price} ${headers['x-cache']}`;
  };
  assert.deepEqual([await read(), await read()], ['1 miss', '1 hit']);
  await ask(url, { method: 'PUT', body: '{}' });
  assert.deepEqual([await read(), await read()], ['2 miss', '2 hit']);
});
