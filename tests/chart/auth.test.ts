import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest, type Rendered } from './lib/helm.ts';

const names = ['gateway', 'user-service', 'order-service'] as const;
const prod = { args: ['--values', 'charts/zerda/values-prod.yaml'] };

function configuration({ get }: Rendered, service: string): Record<string, string> {
  return get('ConfigMap', `zerda-${service}`).data;
}

/** Secret references of a service's variables. Asserts that all of its containers have the same. */
function secretVariables({ get }: Rendered, service: string): Record<string, Manifest> {
  const { initContainers = [], containers } = get('Deployment', `zerda-${service}`).spec.template.spec;
  const variables = ({ env = [] }: Manifest): Record<string, Manifest> =>
    Object.fromEntries(env.map(({ name, valueFrom }: Manifest) => [name, valueFrom?.secretKeyRef]));
  const references = variables(containers[0]);
  for (const initContainer of initContainers)
    assert.deepEqual(variables(initContainer).AUTH_KEY_SECRET, references.AUTH_KEY_SECRET);
  return references;
}

await describeWithHelm('authentication values of the chart', ({ render }) => {
  it('requires access tokens unless global.auth.mode is off', async () => {
    const standard = await render();
    for (const service of names) {
      const { AUTH, ALLOW_UNAUTHENTICATED, AUTH_ISSUER, AUTH_AUDIENCE } = configuration(standard, service);
      assert.deepEqual([AUTH, AUTH_ISSUER, AUTH_AUDIENCE], ['required', 'http://zerda-gateway', 'zerda']);
      assert.equal(ALLOW_UNAUTHENTICATED, undefined);
    }
    const off = await render({ 'global.auth.mode': 'off' });
    for (const service of names) {
      const { AUTH, ALLOW_UNAUTHENTICATED } = configuration(off, service);
      assert.deepEqual(
        [AUTH, ALLOW_UNAUTHENTICATED],
        ['off', 'true'],
        'ALLOW_UNAUTHENTICATED confirms AUTH=off, because NODE_ENV is production',
      );
      assert.equal(secretVariables(off, service).AUTH_KEY_SECRET, undefined);
    }
    assert.equal(off.names('Secret').includes('zerda-auth'), false);
  });

  it('generates a Secret that is kept, and passes it only to user-service', async () => {
    const rendered = await render({ 'global.auth.signUp': true });
    const { metadata, data } = rendered.get('Secret', 'zerda-auth');
    assert.equal(metadata.annotations['helm.sh/resource-policy'], 'keep');
    const decoded = (key: string) => Buffer.from(data[key], 'base64').toString();
    assert.match(decoded('key-secret'), /^[A-Za-z0-9]{48}$/);
    assert.match(decoded('admin-password'), /^[A-Za-z0-9]{24}$/);
    assert.deepEqual(secretVariables(rendered, 'user-service').AUTH_KEY_SECRET, {
      name: 'zerda-auth',
      key: 'key-secret',
    });
    assert.deepEqual(secretVariables(rendered, 'user-service').AUTH_ADMIN_PASSWORD, {
      name: 'zerda-auth',
      key: 'admin-password',
    });
    for (const service of ['gateway', 'order-service'])
      assert.equal(secretVariables(rendered, service).AUTH_KEY_SECRET, undefined);
    const { AUTH_SIGN_UP, AUTH_ADMIN_EMAIL } = configuration(rendered, 'user-service');
    assert.deepEqual([AUTH_SIGN_UP, AUTH_ADMIN_EMAIL], ['true', 'admin@example.com']);
  });

  it('uses an existing Secret, and creates no admin when global.auth.adminEmail is empty', async () => {
    const rendered = await render({
      'global.auth.existingSecret': 'identities',
      'global.auth.keySecretKey': 'keys',
      'global.auth.adminEmail': '',
    });
    assert.equal(rendered.names('Secret').includes('zerda-auth'), false);
    const { AUTH_KEY_SECRET, AUTH_ADMIN_PASSWORD } = secretVariables(rendered, 'user-service');
    assert.deepEqual(AUTH_KEY_SECRET, { name: 'identities', key: 'keys' });
    assert.equal(AUTH_ADMIN_PASSWORD, undefined);
  });

  it('configures an external issuer, whose JWKS all services may fetch', async () => {
    const rendered = await render({
      'global.auth.issuer': 'https://id.example/shop',
      'global.auth.external': {
        jwksUrl: 'https://id.example/shop/keys',
        roleClaim: 'realm_access.roles',
        tokenTypes: 'at+jwt, JWT',
        port: 8443,
      },
    });
    for (const service of names) {
      const { AUTH_ISSUER, AUTH_JWKS_URL, AUTH_ALGORITHMS, AUTH_TOKEN_TYPES, AUTH_ROLE_CLAIM } =
        configuration(rendered, service);
      assert.deepEqual(
        [AUTH_ISSUER, AUTH_JWKS_URL, AUTH_ALGORITHMS, AUTH_TOKEN_TYPES, AUTH_ROLE_CLAIM],
        [
          ...['https://id.example/shop', 'https://id.example/shop/keys', 'RS256', 'at+jwt, JWT'],
          'realm_access.roles',
        ],
      );
      assert.equal(secretVariables(rendered, service).AUTH_KEY_SECRET, undefined);
      const { egress } = rendered.get('NetworkPolicy', `zerda-${service}`).spec;
      assert.ok(egress.some(({ ports: [{ port }] }: Manifest) => port === 8443));
    }
    assert.equal(rendered.names('Secret').includes('zerda-auth'), false);
    await assert.rejects(render({ 'global.auth.external.tokenTypes': 'logout+jwt' }), /tokenTypes/);
    await assert.rejects(
      render({ 'global.auth.external.jwksUrl': 'https://id.example/keys' }),
      /external\.jwksUrl needs global\.auth\.issuer/,
    );
  });

  it('rejects mode off and a generated Secret in production', async () => {
    assert.equal(configuration(await render({}, prod), 'user-service').AUTH, 'required');
    await assert.rejects(
      render({ 'global.auth.mode': 'off' }, prod),
      /does not allow global\.auth\.mode=off/,
    );
    await assert.rejects(
      render({ 'global.auth.existingSecret': '' }, prod),
      /global\.production needs global\.auth\.existingSecret/,
    );
    await assert.rejects(render({ 'global.auth.mode': 'maybe' }), /global/);
  });
});
