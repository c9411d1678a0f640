import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { banner } from './banner.ts';
import { planSystem, services } from './services.ts';

describe('banner', () => {
  it('shows every URL, an example call, how to stop and reset, and the start time', () => {
    const text = banner({ plan: planSystem({ ZERDA_GATEWAY_PORT: '18000' }), startedInMs: 2345 });
    assert.match(text, /ready in 2\.3 s/);
    for (const address of [':18000', ':8001', ':8002', ':9090', ':9091', ':9092'])
      assert.ok(text.includes(address));
    assert.match(text, /curl http:\/\/127\.0\.0\.1:18000\/api\/dashboard/);
    assert.match(text, /Ctrl-C/);
    assert.match(text, /npm run reset/);
    assert.match(text, /embedded database \(user-service and order-service.*authentication off/);
  });

  it('mentions neither an embedded database nor the reset when PostgreSQL is used', () => {
    const plan = planSystem(
      Object.fromEntries(
        services.map(({ name, variable }) => [`ZERDA_${variable}_DATABASE_URL`, `postgres://a/${name}`]),
      ),
    );
    const text = banner({ plan, startedInMs: 1 });
    assert.doesNotMatch(text, /embedded|reset/);
    assert.match(text, /authentication off/);
  });
});
