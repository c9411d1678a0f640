import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { sendRequest } from '@zerda/chassis/testing/http';
import { startGateway } from '../../testing/gateway.ts';
import { sendJson } from '../../testing/stub-service.ts';
import { parseTable } from '../routes/read-table.ts';

const page = readFileSync(new URL('../../../../docs/gateway.md', import.meta.url), 'utf8');

it('the cache example in docs/gateway.md works as documented', async (context) => {
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  let price = 1;
  const gateway = await startGateway(context, {
    table: parseTable(example.replaceAll('catalog', 'user-service'), 'docs/gateway.md'),
    users: (incoming, response) => {
      incoming.resume();
      if (incoming.method === 'PUT') price += 1;
      sendJson(response, 200, { price }, { 'cache-control': 'max-age=60' });
    },
  });
  const url = `${gateway.url}/api/products/1`;
  const read = async () => {
    const { text, headers } = await sendRequest(url);
    return `${JSON.parse(text).price} ${headers['x-cache']}`;
  };
  assert.deepEqual([await read(), await read()], ['1 miss', '1 hit']);
  await sendRequest(url, { method: 'PUT', body: '{}' });
  assert.deepEqual([await read(), await read()], ['2 miss', '2 hit']);
});
