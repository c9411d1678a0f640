import assert from 'node:assert/strict';
import { it } from 'node:test';
import { describeWithHelm, type Manifest } from './lib/helm.ts';

const name = 'zerda-user-service';
const database = `${name}-postgresql`;

await describeWithHelm('the database of a service', ({ render }) => {
  const external = (values: Record<string, unknown>) =>
    render({
      'user-service.database.type': 'external',
      'user-service.database.external.existingSecret': 'users-app',
      ...Object.fromEntries(
        Object.entries(values).map(([path, value]) => [`user-service.database.external.${path}`, value]),
      ),
    });
  const variables = (pod: Manifest): Record<string, Manifest> =>
    Object.fromEntries(
      pod.containers[0].env.map(({ name: variable, valueFrom }: Manifest) => [variable, valueFrom]),
    );

  it('generates a password for the bundled database and keeps it after uninstallation', async () => {
    const rendered = await render();
    const secret = rendered.get('Secret', database);
    assert.equal(secret.metadata.annotations['helm.sh/resource-policy'], 'keep');
    assert.match(Buffer.from(secret.data.password, 'base64').toString(), /^[A-Za-z0-9]{32}$/);
    assert.notEqual((await render()).get('Secret', database).data.password, secret.data.password);
    const orders = rendered.get('Secret', 'zerda-order-service-postgresql');
    assert.notEqual(orders.data.password, secret.data.password);
    const { spec } = rendered.get('StatefulSet', database);
    assert.equal(spec.persistentVolumeClaimRetentionPolicy.whenDeleted, 'Retain');
    assert.equal(spec.volumeClaimTemplates[0].spec.resources.requests.storage, '2Gi');
    const [server] = spec.template.spec.containers;
    assert.equal(server.image, 'postgres:17-bookworm');
    assert.deepEqual(
      server.env.find(({ name: variable }: Manifest) => variable === 'POSTGRES_PASSWORD').valueFrom,
      {
        secretKeyRef: { name: database, key: 'password' },
      },
    );
    const { data } = rendered.get('ConfigMap', name);
    assert.deepEqual(
      [data.DATABASE_HOST, data.DATABASE_NAME, data.DATABASE_USER, data.MIGRATE_ON_START],
      [database, 'users', 'users', 'false'],
    );
    assert.deepEqual(variables(rendered.get('Deployment', name).spec.template.spec).DATABASE_PASSWORD, {
      secretKeyRef: { name: database, key: 'password' },
    });
  });

  it('migrates in an init container, and loads demo data only there', async () => {
    const pods = async (values: Record<string, unknown>) =>
      (await render(values)).get('Deployment', name).spec.template.spec;
    const pod = await pods({ 'global.demoData': true });
    const [migrate] = pod.initContainers;
    assert.deepEqual(migrate.args, ['bin/main.mjs', 'migrate']);
    assert.equal(migrate.image, pod.containers[0].image);
    const demo = ({ env }: Manifest) =>
      env.find(({ name: variable }: Manifest) => variable === 'DEMO_DATA')?.value;
    assert.deepEqual([demo(migrate), demo(pod.containers[0])], ['true', undefined]);
    assert.equal(demo((await pods({})).initContainers[0]), undefined);
    const gateway = (await render()).get('Deployment', 'zerda-gateway');
    assert.equal('initContainers' in gateway.spec.template.spec, false);
  });

  it('applies a custom password, Secret, volume and server settings', async () => {
    const bundled = 'user-service.database.bundled';
    const rendered = await render({
      [`${bundled}.existingSecret`]: 'mine',
      [`${bundled}.passwordKey`]: 'pw',
      [`${bundled}.persistence`]: { enabled: false },
      [`${bundled}.settings.work_mem`]: '8MB',
      [`${bundled}.image.registry`]: 'mirror.example',
    });
    assert.ok(!rendered.names('Secret').includes(database));
    const { spec } = rendered.get('StatefulSet', database);
    assert.equal('volumeClaimTemplates' in spec, false);
    assert.deepEqual(spec.template.spec.volumes.at(-1), { name: 'data', emptyDir: { sizeLimit: '2Gi' } });
    assert.ok(spec.template.spec.containers[0].args.includes('work_mem=8MB'));
    assert.equal(spec.template.spec.containers[0].image, 'mirror.example/postgres:17-bookworm');
    assert.deepEqual(variables(rendered.get('Deployment', name).spec.template.spec).DATABASE_PASSWORD, {
      secretKeyRef: { name: 'mine', key: 'pw' },
    });
    const chosen = (await render({ [`${bundled}.password`]: 'chosen' })).get('Secret', database);
    assert.equal(Buffer.from(chosen.data.password, 'base64').toString(), 'chosen');
  });

  it('uses an external database by the URL in a Secret, such as one of CloudNativePG', async () => {
    const rendered = await external({});
    assert.ok(!rendered.names('StatefulSet').includes(database));
    const references = variables(rendered.get('Deployment', name).spec.template.spec);
    assert.deepEqual(references.DATABASE_URL, { secretKeyRef: { name: 'users-app', key: 'uri' } });
    assert.equal('DATABASE_PASSWORD' in references, false);
    assert.equal('DATABASE_HOST' in rendered.get('ConfigMap', name).data, false);
  });

  it('uses an external database by host, port, name and parameters', async () => {
    const rendered = await external({
      host: 'db.example',
      port: 6432,
      name: 'users',
      parameters: 'sslmode=require',
    });
    const { data } = rendered.get('ConfigMap', name);
    assert.deepEqual(
      [
        data.DATABASE_HOST,
        data.DATABASE_PORT,
        data.DATABASE_NAME,
        data.DATABASE_PARAMETERS,
        data.DATABASE_USER,
      ],
      ['db.example', '6432', 'users', 'sslmode=require', undefined],
    );
    const references = variables(rendered.get('Deployment', name).spec.template.spec);
    assert.equal('DATABASE_URL' in references, false);
    assert.deepEqual(references.DATABASE_USER, { secretKeyRef: { name: 'users-app', key: 'username' } });
    assert.deepEqual(references.DATABASE_PASSWORD, { secretKeyRef: { name: 'users-app', key: 'password' } });
    const withUser = await external({ host: 'db.example', username: 'fennec' });
    assert.equal(withUser.get('ConfigMap', name).data.DATABASE_USER, 'fennec');
    assert.equal('DATABASE_USER' in variables(withUser.get('Deployment', name).spec.template.spec), false);
  });

  it('uses prepared statements with the bundled database, and with an external one only when enabled', async () => {
    const prepared = async (rendered: ReturnType<typeof render>) =>
      (await rendered).get('ConfigMap', name).data.DATABASE_PREPARED_STATEMENTS;
    assert.equal(await prepared(render()), 'true');
    assert.equal(await prepared(external({})), 'false');
    assert.equal(await prepared(external({ preparedStatements: true })), 'true');
  });

  it('rejects an external database without an address, and a bundled one in production', async () => {
    await assert.rejects(
      external({ existingSecret: '' }),
      /user-service: .*needs database\.external\.existingSecret/,
    );
    await assert.rejects(external({ uriKey: '' }), /needs database\.external\.host/);
    await assert.rejects(
      render({ 'global.production': true }),
      /(user|order)-service: global\.production does not allow the bundled database/,
    );
    await assert.rejects(
      render({ 'global.demoData': true }, { args: ['--values', 'charts/zerda/values-prod.yaml'] }),
      /global\.production does not allow global\.demoData/,
    );
  });
});
