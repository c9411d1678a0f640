import { relative } from 'node:path';
import { secretsFile } from './generated-secrets.ts';
import type { ServicePlan, SystemPlan } from './services.ts';

export interface BannerOptions {
  readonly plan: SystemPlan;
  /** Milliseconds from the start of the command until all services are ready. */
  readonly startedInMs: number;
}

/** Returns the text that `npm start` prints when the system is ready: URLs, next steps and demo settings. */
export function banner({ plan, startedInMs }: BannerOptions): string {
  const gateway = plan.services.find(({ name }) => name === 'gateway');
  const embedded = plan.services.filter((service) => service.embedded);
  const relativeDataDir = relative(process.cwd(), plan.dataDir);
  const folder = relativeDataDir.startsWith('..') ? plan.dataDir : relativeDataDir || '.';
  const admin = plan.services.find(({ env }) => env.AUTH === 'required')?.env.AUTH_ADMIN_EMAIL;
  return [
    '',
    `zerda is ready in ${(startedInMs / 1000).toFixed(1)} s`,
    '',
    ...plan.services.map(addresses),
    '',
    `  Try      curl ${gateway?.url}/api/dashboard`,
    `  Explore  ${gateway?.url}/docs`,
    ...(admin ? [`  Log in   as ${admin}, with AUTH_ADMIN_PASSWORD from ${secretsFile(folder)}`] : []),
    '  Stop     Ctrl-C',
    ...(embedded.length > 0 ? [`  Reset    npm run reset   (data is stored in ${folder})`] : []),
    '',
    `  For demos only: ${demoParts(embedded, plan).join('; ')}.`,
    '',
  ].join('\n');
}

function addresses({ name, url, managementUrl }: ServicePlan): string {
  return `  ${name.padEnd(14)} ${url.padEnd(24)} management ${managementUrl}`;
}

function demoParts(embedded: readonly ServicePlan[], plan: SystemPlan): string[] {
  const names = embedded.map(({ name }) => name).join(' and ');
  return [
    ...(names
      ? [
          `embedded database (${names}; for PostgreSQL, set ZERDA_USER_DATABASE_URL and ZERDA_ORDER_DATABASE_URL)`,
        ]
      : []),
    ...(plan.services.some(({ env }) => env.AUTH === 'off')
      ? ['authentication off (to enable it, set AUTH=required)']
      : []),
  ];
}
