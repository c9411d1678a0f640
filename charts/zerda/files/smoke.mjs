// What `helm test` runs, in the gateway's image: create a user, place an order, read the profile that is made of both; where tokens
// are required, as the first admin, and where nobody is known who could log in, that nobody gets in.
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
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text).data;
}

function same(what, found, wanted) {
  if (found !== wanted) throw new Error(`${what} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
}

// A pod that has just begun may have to wait until the network lets it through, as its policies say.
async function patiently(attempt) {
  for (const giveUpAt = Date.now() + 30_000; ; await new Promise((resolve) => setTimeout(resolve, 500))) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > giveUpAt) throw error;
    }
  }
}

const health = await patiently(() => call('GET', '/api/health'));
same('overall_status', health.overall_status, 'healthy');

if (health.authentication === 'required') {
  const { response } = await send('GET', '/api/users');
  same('the status for nobody', response.status, 401);
  if (password) {
    // The first admin is made by a service that has just begun.
    const login = await patiently(() => call('POST', '/api/auth/login', { email, password }));
    authorization = `Bearer ${login.access_token}`;
  }
}
if (health.authentication === 'off' || password) await placeAnOrder();
console.log('ok');

async function placeAnOrder() {
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
    same("the profile's e-mail", profile.user.email, address);
    same("the profile's order", profile.orders[0]?.id, order.id);
    same("the profile's number of orders", profile.total_orders, 1);
    await call('DELETE', `/api/orders/${order.id}`);
  } finally {
    await call('DELETE', `/api/users/${user.id}`);
  }
}
