/** Which file may import which. Paths are those of the files, so a package's name or a relative path makes no difference. */
const services = '(user-service|order-service|gateway)';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files that import each other cannot be read, tested or moved alone.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'services-are-apart',
      comment: 'All that a service knows of another is in contracts.',
      severity: 'error',
      from: { path: `^packages/${services}/` },
      to: { path: `^packages/${services}/`, pathNot: '^packages/$1/' },
    },
    {
      name: 'chassis-knows-no-service',
      comment: 'What every service runs on knows no business word.',
      severity: 'error',
      from: { path: '^packages/chassis/' },
      to: {
        path: [
          '^packages/(?!chassis/|contracts/)',
          '^packages/contracts/src/(events/)?(users|orders|gateway|catalogue)\\.ts$',
        ],
      },
    },
    {
      name: 'contracts-stand-alone',
      comment: 'A contract that needed the code of a side would be no contract.',
      severity: 'error',
      from: { path: '^packages/contracts/' },
      to: { path: ['^packages/(?!contracts/)', '^(scripts|tests)/'] },
    },
    {
      name: 'packages-know-no-tools',
      comment: 'What runs in production is in packages/.',
      severity: 'error',
      from: { path: '^packages/' },
      to: { path: '^(scripts|tests)/' },
    },
    {
      name: 'test-helpers-stay-in-tests',
      comment: 'Helpers of tests (`testing*.ts`) and tests themselves are no part of what runs.',
      severity: 'error',
      from: { path: '^packages/', pathNot: '(^|/)testing[^/]*\\.ts$|\\.test\\.ts$' },
      to: { path: '(^|/)testing[^/]*\\.ts$|\\.test\\.ts$' },
    },
    {
      name: 'resolvable',
      comment: 'An import that leads nowhere is an import that no rule sees.',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    // TypeScript 7 has no compiler API to read the imports with.
    parser: 'swc',
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: 'node_modules' },
    // The competitors of the bench are a package of their own, which only the bench installs.
    exclude: { path: '(^|/)(\\.tsbuild|dist|coverage|competitors)/' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
