// Script of `helm test`, run in the gateway's image: creates a user, places an order and reads the profile with both. If
// authentication is required, it logs in as the first admin. Without an admin it only checks that requests without a token are rejected.
const { GATEWAY_URL: gateway, ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = process.env;
let authorization;

async function send(method, path, body) {
  const response = await fetch(`${gateway}${path}`, {
    method,
    headers: {
      'content-type': 'application/json',
      'idempotency-key': `smoke-${crypto.randomUUID()}`,
      ...(authorization && { authorization }),
    },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  const text = await response.text();
  console.log(`${method} ${path}: ${response.status}`);
  return { response, text };
}

async function call(method, path, body) {
  const { response, text } = await send(method, path, body);
  if (!response.ok) throw new Error(`${method} ${path} returned ${response.status}: ${text}`);
  return JSON.parse(text).data;
}

function assertEqual(name, actual, expected) {
  if (actual !== expected)
    throw new Error(`${name} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
}

// Network policies may take effect only seconds after the pod has started.
async function retry(attempt) {
  for (const giveUpAt = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > giveUpAt) throw error;
    }
  }
}

const health = await retry(async () => {
  const current = await call('GET', '/api/health');
  assertEqual('overall_status', current.overall_status, 'healthy');
  return current;
});

if (health.authentication === 'required') {
  const { response } = await send('GET', '/api/users');
  assertEqual('the status without a token', response.status, 401);
  if (password) {
    // user-service creates the first admin when it starts.
    const login = await retry(() => call('POST', '/api/auth/login', { email, password }));
    authorization = `Bearer ${login.access_token}`;
  }
}
if (health.authentication === 'off' || password) await placeOrder();
console.log('ok');

async function placeOrder() {
  const address = `smoke-${crypto.randomUUID()}@example.com`;
  const user = await call('POST', '/api/users', { name: 'Smoke Test', email: address });
  try {
    const order = await call('POST', '/api/orders', {
      user_id: user.id,
      product: 'Smoke detector',
      quantity: 1,
      total: 12.5,
    });
    const profile = await call('GET', `/api/users/${user.id}/profile`);
    assertEqual("the profile's e-mail", profile.user.email, address);
    assertEqual("the profile's order", profile.orders[0]?.id, order.id);
    assertEqual("the profile's number of orders", profile.total_orders, 1);
    await call('DELETE', `/api/orders/${order.id}`);
  } finally {
    await call('DELETE', `/api/users/${user.id}`);
  }
}
