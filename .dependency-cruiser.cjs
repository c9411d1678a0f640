const { existsSync, readdirSync } = require('node:fs');
const { basename, dirname, join } = require('node:path');

/** Import rules. They match resolved file paths, so package names and relative paths are treated alike. */
const packages = join(__dirname, 'packages');

/** Pattern of the packages that are services, whose package.json has the member `zerda`. */
const services = `(${readdirSync(packages)
  .map((name) => join(packages, name, 'package.json'))
  .filter((file) => existsSync(file) && require(file).zerda)
  .map((file) => basename(dirname(file)))
  .join('|')})`;

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files in a cycle cannot be read, tested or moved independently.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'services-do-not-import-services',
      comment: 'A service uses another service only through contracts.',
      severity: 'error',
      from: { path: `^packages/${services}/` },
      to: { path: `^packages/${services}/`, pathNot: '^packages/$1/' },
    },
    {
      name: 'chassis-does-not-import-services',
      comment: 'The shared library contains no business logic.',
      severity: 'error',
      from: { path: '^packages/chassis/' },
      to: {
        path: [
          '^packages/(?!chassis/|contracts/)',
          `^packages/contracts/src/(${services}/|services\\.ts$|events/catalog\\.ts$)`,
        ],
      },
    },
    {
      name: 'upstream-and-events-import-only-chassis',
      comment: 'Each of the two libraries can be used without the other.',
      severity: 'error',
      from: { path: '^packages/(upstream|events)/' },
      to: {
        path: [
          '^packages/(?!$1/|chassis/|contracts/)',
          `^packages/contracts/src/(${services}/|services\\.ts$|events/catalog\\.ts$)`,
        ],
      },
    },
    {
      name: 'contracts-do-not-import-packages',
      comment: 'A contract must not depend on the code of either side.',
      severity: 'error',
      from: { path: '^packages/contracts/' },
      to: { path: ['^packages/(?!contracts/)', '^(scripts|tests)/'] },
    },
    {
      name: 'packages-do-not-import-tools',
      comment: 'Production code must not depend on scripts or tests.',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^(scripts|tests)/' },
    },
    {
      name: 'test-helpers-only-in-tests',
      comment: 'Production code must not import tests or test helpers (`testing/`).',
      severity: 'error',
      from: { path: '^packages/', pathNot: '^packages/[^/]+/testing/|\\.test\\.ts$' },
      to: { path: '^packages/[^/]+/testing/|\\.test\\.ts$' },
    },
    {
      name: 'domain-imports-no-adapters',
      comment:
        'Use cases declare the ports that they need. They know neither SQL, HTTP nor the transport of events.',
      severity: 'error',
      from: { path: `^packages/${services}/src/domain/`, pathNot: '\\.test\\.ts$' },
      to: {
        path: [
          '^packages/$1/src/(clients|commands|events|http|store)/',
          '^packages/$1/src/(app|database-schema|main|serve)\\.ts$',
          '^packages/(chassis/src/http|upstream/src|events/src)/',
        ],
      },
    },
    {
      name: 'store-imports-no-http',
      comment:
        'A store compares versions and returns entities. http/ parses headers and makes response bodies.',
      severity: 'error',
      from: { path: `^packages/${services}/src/store/`, pathNot: '\\.test\\.ts$' },
      to: {
        path: [
          '^packages/$1/src/(clients|commands|events|http)/',
          '^packages/$1/src/(app|database-schema|main|serve)\\.ts$',
          '^packages/(chassis/src/http|upstream/src)/',
        ],
      },
    },
    {
      name: 'opentelemetry-only-in-its-exporter',
      comment: 'Without an endpoint, nothing of OpenTelemetry is loaded.',
      severity: 'error',
      from: {
        path: '^packages/',
        pathNot: '^packages/chassis/src/tracing/(otlp-exporter|[a-z-]+\\.test)\\.ts$',
      },
      to: { path: 'node_modules/@opentelemetry/' },
    },
    {
      name: 'tracer-is-loaded-on-demand',
      comment: 'Without an endpoint, nothing of OpenTelemetry is loaded.',
      severity: 'error',
      from: { path: '^packages/', pathNot: '^packages/chassis/src/tracing/recording-tracer\\.ts$' },
      to: { path: '^packages/chassis/src/tracing/(otlp-exporter|recording-tracer)\\.ts$', dynamic: false },
    },
    {
      name: 'no-unresolved-imports',
      comment: 'No rule applies to an import that cannot be resolved.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    // TypeScript 7 has no compiler API.
    parser: 'swc',
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: 'node_modules' },
    // Only the benchmark installs the package of its competitors.
    exclude: { path: '(^|/)(\\.tsbuild|dist|coverage|competitors)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
